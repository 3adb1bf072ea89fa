//! What goes wrong with a device, as a stable code and one sentence.

use std::borrow::Cow;
use std::io;

/// `code` is an errno name ("EIO") or one of ours: LOCKED, MOUNTED, NOT_A_DEVICE, TOO_SMALL, CLOSED.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceError {
    pub code: Cow<'static, str>,
    pub message: String,
}

pub type DeviceResult<T> = Result<T, DeviceError>;

impl DeviceError {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Cow::Borrowed(code), message: message.into() }
    }

    /// `doing` names what was tried and on what, e.g. "open /dev/sdb".
    pub fn from_io(doing: &str, error: &io::Error) -> Self {
        let code = match error.raw_os_error() {
            Some(errno) => errno_name(errno),
            None => Cow::Borrowed("EIO"),
        };
        Self { code, message: format!("{doing}: {error}") }
    }

    /// The calling thread's errno.
    pub fn last_os(doing: &str) -> Self {
        Self::from_io(doing, &io::Error::last_os_error())
    }
}

fn errno_name(errno: i32) -> Cow<'static, str> {
    const NAMES: &[(i32, &str)] = &[
        (libc::EPERM, "EPERM"),
        (libc::ENOENT, "ENOENT"),
        (libc::EIO, "EIO"),
        (libc::ENXIO, "ENXIO"),
        (libc::EBADF, "EBADF"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::ENOMEM, "ENOMEM"),
        (libc::EACCES, "EACCES"),
        (libc::EFAULT, "EFAULT"),
        (libc::EBUSY, "EBUSY"),
        (libc::EEXIST, "EEXIST"),
        (libc::ENODEV, "ENODEV"),
        (libc::ENOTDIR, "ENOTDIR"),
        (libc::EISDIR, "EISDIR"),
        (libc::EINVAL, "EINVAL"),
        (libc::ENFILE, "ENFILE"),
        (libc::EMFILE, "EMFILE"),
        (libc::EFBIG, "EFBIG"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::EROFS, "EROFS"),
        (libc::ENAMETOOLONG, "ENAMETOOLONG"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::ELOOP, "ELOOP"),
        (libc::ENODATA, "ENODATA"),
        (libc::ETIME, "ETIME"),
        (libc::ENOLINK, "ENOLINK"),
        (libc::EREMOTEIO, "EREMOTEIO"),
        (libc::EILSEQ, "EILSEQ"),
        (libc::EOPNOTSUPP, "EOPNOTSUPP"),
        (libc::ETIMEDOUT, "ETIMEDOUT"),
        (libc::ESTALE, "ESTALE"),
        (libc::EDQUOT, "EDQUOT"),
    ];
    match NAMES.iter().find(|(number, _)| *number == errno) {
        Some((_, name)) => Cow::Borrowed(name),
        None => Cow::Owned(format!("E{errno}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_keeps_its_name() {
        let error = DeviceError::from_io("open x", &io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(error.code, "ENOSPC");
        assert!(error.message.starts_with("open x: "), "{}", error.message);
        assert_eq!(DeviceError::from_io("x", &io::Error::from_raw_os_error(9999)).code, "E9999");
    }
}
