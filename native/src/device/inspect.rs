//! Who uses a medium and what lies on it, found without opening it for writing.
//!
//! Sources: /proc/self/mountinfo (proc_pid_mountinfo(5)), /proc/swaps, and sysfs: holders/ of the device and of its partitions,
//! loop/backing_file of every loop device. What cannot be read (no /proc, no /sys) counts as no user: the exclusive open that
//! follows asks the kernel itself.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::content::{self, HEAD_BYTES};
use super::error::{DeviceError, DeviceResult};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    File,
    Block,
    Other,
}

impl DeviceKind {
    pub fn of(metadata: &Metadata) -> Self {
        let file_type = metadata.file_type();
        match (file_type.is_file(), file_type.is_block_device()) {
            (true, _) => Self::File,
            (_, true) => Self::Block,
            _ => Self::Other,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Block => "block",
            Self::Other => "other",
        }
    }
}

pub struct Inspection {
    pub exists: bool,
    pub kind: DeviceKind,
    pub capacity: u64,
    pub used_by: Vec<String>,
    pub content: &'static str,
}

/// What is on `path`. A missing path is an answer; one that cannot be read is an error.
pub fn inspect(path: &str) -> DeviceResult<Inspection> {
    let doing = || format!("inspect {path}");
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Inspection { exists: false, kind: DeviceKind::File, capacity: 0, used_by: Vec::new(), content: "" });
        }
        Err(error) => return Err(DeviceError::from_io(&doing(), &error)),
    };
    let kind = DeviceKind::of(&metadata);
    if kind == DeviceKind::Other {
        return Ok(Inspection { exists: true, kind, capacity: 0, used_by: Vec::new(), content: "" });
    }
    let mut file = File::open(path).map_err(|error| DeviceError::from_io(&doing(), &error))?;
    let capacity = end_of(&mut file).map_err(|error| DeviceError::from_io(&doing(), &error))?;
    let content = guess_content(&mut file, capacity).map_err(|error| DeviceError::from_io(&doing(), &error))?;
    Ok(Inspection { exists: true, kind, capacity, used_by: users_of(path, &metadata), content })
}

/// Size of a file or block device in bytes.
pub fn end_of(file: &mut File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}

/// Looks at the first MiB; a blank start with something in the last MiB (backup tables, RAID and ZFS labels) is "data".
fn guess_content(file: &mut File, capacity: u64) -> io::Result<&'static str> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    for start in [0, capacity.saturating_sub(HEAD_BYTES as u64)] {
        bytes.clear();
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut bytes)?;
        match content::guess(&bytes) {
            "" => {}
            name => return Ok(if start == 0 { name } else { "data" }),
        }
    }
    Ok("")
}

/// Mount points, swap areas, device-mapper and RAID holders, and loop devices that use the medium or one of its partitions.
pub fn users_of(path: &str, metadata: &Metadata) -> Vec<String> {
    let mut users = match DeviceKind::of(metadata) {
        DeviceKind::Block => users_of_block_device(metadata.rdev()),
        DeviceKind::File => users_of_file(path, metadata),
        DeviceKind::Other => Vec::new(),
    };
    users.sort();
    users.dedup();
    users
}

fn users_of_block_device(rdev: u64) -> Vec<String> {
    let sysfs = PathBuf::from(format!("/sys/dev/block/{}", dev_text(rdev)));
    let mut numbers = vec![dev_text(rdev)];
    let mut users = entries(&sysfs.join("holders")).iter().map(|holder| format!("/dev/{holder}")).collect::<Vec<_>>();
    for child in entries(&sysfs) {
        let partition = sysfs.join(&child);
        if partition.join("partition").exists() {
            numbers.push(fs::read_to_string(partition.join("dev")).unwrap_or_default().trim().to_owned());
            users.extend(entries(&partition.join("holders")).iter().map(|holder| format!("/dev/{holder}")));
        }
    }
    let is_ours = |source: &str| {
        fs::metadata(source).is_ok_and(|found| found.file_type().is_block_device() && numbers.contains(&dev_text(found.rdev())))
    };
    for line in fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines() {
        if let Some(mount) = parse_mount(line)
            && (numbers.iter().any(|number| number == mount.number) || is_ours(mount.source))
        {
            users.push(unescape(mount.point));
        }
    }
    users.extend(swap_areas().into_iter().filter(|area| is_ours(area)).map(|area| format!("swap {area}")));
    users
}

fn users_of_file(path: &str, metadata: &Metadata) -> Vec<String> {
    let same = |other: &str| fs::metadata(other).is_ok_and(|found| (found.dev(), found.ino()) == (metadata.dev(), metadata.ino()));
    let mut users: Vec<String> = swap_areas().into_iter().filter(|area| same(area)).map(|area| format!("swap {path} ({area})")).collect();
    for name in entries(Path::new("/sys/block")) {
        let backing = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).unwrap_or_default();
        if !backing.is_empty() && same(backing.trim_end_matches('\n')) {
            users.push(format!("/dev/{name}"));
        }
    }
    users
}

struct Mount<'a> {
    number: &'a str,
    point: &'a str,
    source: &'a str,
}

/// `36 35 98:0 /root /mount/point rw,noatime shared:1 - ext4 /dev/root rw`: the fields before " - " vary in number.
fn parse_mount(line: &str) -> Option<Mount<'_>> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(2);
    let number = fields.next()?;
    let point = fields.nth(1)?;
    Some(Mount { number, point, source: after.split(' ').nth(1)? })
}

/// /proc/swaps and mountinfo write space, tab, newline and backslash as octal escapes.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn swap_areas() -> Vec<String> {
    let table = fs::read_to_string("/proc/swaps").unwrap_or_default();
    table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(unescape).collect()
}

fn entries(directory: &Path) -> Vec<String> {
    let Ok(listing) = fs::read_dir(directory) else { return Vec::new() };
    listing.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn dev_text(device: u64) -> String {
    format!("{}:{}", libc::major(device), libc::minor(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mountinfo_line_is_cut_at_its_separator() {
        let mount = parse_mount("36 35 98:0 /a /mnt/two\\040words rw,noatime shared:1 master:2 - ext4 /dev/root rw").expect("a mount");
        assert_eq!((mount.number, mount.source), ("98:0", "/dev/root"));
        assert_eq!(unescape(mount.point), "/mnt/two words");
        assert!(parse_mount("nonsense").is_none());
    }

    #[test]
    fn a_missing_path_is_an_answer_and_a_directory_is_other() {
        let missing = inspect("/no/such/place").expect("an answer");
        assert!(!missing.exists);
        let directory = inspect("/").expect("an answer");
        assert_eq!((directory.exists, directory.kind), (true, DeviceKind::Other));
    }

    #[test]
    fn the_root_file_systems_device_is_in_use() {
        let root = fs::metadata("/").expect("a root");
        let users = users_of_block_device(root.dev());
        let listed = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().contains(&format!(" {} ", dev_text(root.dev())));
        assert_eq!(users.iter().any(|user| user == "/"), listed);
    }
}
