/**
 * The ar archive that a Debian package is (deb(5)): a magic line, then for each member a header of 60 characters and its bytes, padded to an even length.
 *
 *   name 16, mtime 12 (decimal), uid 6, gid 6, mode 8 (octal), size 10 (decimal), "`\n"
 */
export interface ArMember {
  /** At most 16 characters, without a slash. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

const MAGIC = "!<arch>\n";
const NAME_MAX = 16;

export function writeAr(members: readonly ArMember[], mtimeSeconds: number): Uint8Array {
  const parts: Uint8Array[] = [Buffer.from(MAGIC)];
  for (const { name, bytes } of members) {
    if (name.length > NAME_MAX || name.includes("/")) throw new RangeError(`"${name}" is no name for a member of an ar archive`);
    const header = [
      name.padEnd(16),
      String(mtimeSeconds).padEnd(12),
      "0".padEnd(6),
      "0".padEnd(6),
      "100644".padEnd(8),
      String(bytes.length).padEnd(10),
      "`\n",
    ];
    parts.push(Buffer.from(header.join("")), bytes);
    if (bytes.length % 2 === 1) parts.push(Buffer.from("\n"));
  }
  return Buffer.concat(parts);
}
