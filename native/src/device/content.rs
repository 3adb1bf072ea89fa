//! A guess at what lies on a medium, from its first bytes. Magic numbers: util-linux's libblkid, and the formats' own papers.

/// The magic of a WAL header, at offset 0.
pub const WEIR_MAGIC: &[u8] = b"WEIRWAL1";

/// How much of a medium's start is looked at.
pub const HEAD_BYTES: usize = 1 << 20;

const MAGICS: &[(usize, &[u8], &str)] = &[
    (0, WEIR_MAGIC, "weir"),
    (0x438, &[0x53, 0xef], "ext4"),
    (0, b"XFSB", "xfs"),
    (0x1_0040, b"_BHRfS_M", "btrfs"),
    (0x218, b"LVM2 001", "LVM"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (0x1000, &[0xfc, 0x4e, 0x2b, 0xa9], "md RAID"),
    (0, &[0xfc, 0x4e, 0x2b, 0xa9], "md RAID"),
    (4086, b"SWAPSPACE2", "swap"),
    (0x400, &[0x10, 0x20, 0xf5, 0xf2], "f2fs"),
    (0, b"hsqs", "squashfs"),
    (0x8001, b"CD001", "iso9660"),
    (0x200, b"EFI PART", "partition table"),
    (0x1000, b"EFI PART", "partition table"),
    (510, &[0x55, 0xaa], "partition table"),
];

/// "" when `head` is all zero, the name of what it looks like, else "data".
pub fn guess(head: &[u8]) -> &'static str {
    if head.iter().all(|byte| *byte == 0) {
        return "";
    }
    let found = MAGICS.iter().find(|(offset, magic, _)| head.get(*offset..offset + magic.len()) == Some(*magic));
    found.map_or("data", |(_, _, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magics_are_found_where_they_lie() {
        assert_eq!(guess(&[0; 8192]), "");
        assert_eq!(guess(&[]), "");
        for (offset, magic, name) in MAGICS {
            let mut head = vec![0; 128 * 1024];
            head[*offset..offset + magic.len()].copy_from_slice(magic);
            assert_eq!(guess(&head), *name);
        }
        assert_eq!(guess(b"hello"), "data");
    }

    #[test]
    fn our_header_wins_over_what_a_ring_may_hold_behind_it() {
        let mut head = vec![0x53; 8192];
        head[..8].copy_from_slice(WEIR_MAGIC);
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(guess(&head), "weir");
    }
}
