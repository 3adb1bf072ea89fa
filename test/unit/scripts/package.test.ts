/** The parts of the packager that need no executable: the archive format of Debian packages, and which licences are fine. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type ArMember, writeAr } from "../../../scripts/lib/ar.ts";
import { collectNpm, isAccepted, renderLicenses } from "../../../scripts/lib/licenses.ts";
import { TemporaryFolder } from "../../support/temporary.ts";
import { hasTool, mustRunTool, testIf } from "../../support/tools.ts";

const members: readonly ArMember[] = [
  { name: "debian-binary", bytes: Buffer.from("2.0\n") },
  { name: "odd", bytes: Buffer.from("odd") },
  { name: "last", bytes: Buffer.from("x") },
];

describe("writeAr", () => {
  test("is byte for byte what ar(5) says", () => {
    expect(Buffer.from(writeAr(members, 1_700_000_000)).toString()).toBe(
      [
        "!<arch>\n",
        "debian-binary   1700000000  0     0     100644  4         `\n2.0\n",
        "odd             1700000000  0     0     100644  3         `\nodd\n",
        "last            1700000000  0     0     100644  1         `\nx\n",
      ].join(""),
    );
  });

  test("refuses a name that does not fit", () => {
    expect(() => writeAr([{ name: "seventeen-letters", bytes: new Uint8Array(0) }], 0)).toThrow(RangeError);
    expect(() => writeAr([{ name: "a/b", bytes: new Uint8Array(0) }], 0)).toThrow(RangeError);
  });

  testIf(hasTool("ar"), "needs ar (Debian package binutils)")("is read by ar itself", async () => {
    using folder = new TemporaryFolder("ar");
    await Bun.write(join(folder.path, "a"), writeAr(members, 0));
    expect(await mustRunTool(["ar", "t", join(folder.path, "a")])).toBe("debian-binary\nodd\nlast\n");
    expect(await mustRunTool(["ar", "p", join(folder.path, "a"), "odd"])).toBe("odd");
  });
});

describe("licences", () => {
  test("an expression is fine when each part of an AND, and one of each OR, is", () => {
    for (const fine of ["MIT", "MIT OR GPL-3.0-only", "(MIT OR GPL-2.0-only) AND Unicode-3.0", "MIT/Apache-2.0"]) {
      expect([fine, isAccepted(fine)]).toEqual([fine, true]);
    }
    for (const refused of ["", "GPL-3.0-only", "MIT AND AGPL-3.0-only", "(GPL-2.0-only OR LGPL-3.0-only) AND MIT"]) {
      expect([refused, isAccepted(refused)]).toEqual([refused, false]);
    }
  });

  test("one that is not fine ends the packaging by name", () => {
    const dependency = { name: "bad", version: "1.0.0", license: "GPL-3.0-only", texts: [], from: "npm" as const };
    expect(() => renderLicenses([dependency])).toThrow("bad 1.0.0 (GPL-3.0-only)");
  });

  test("every npm package that src/ depends on, and what it depends on, is found and fine; what only builds and tests is not in it", () => {
    const found = collectNpm();
    const names = found.map(({ name }) => name);
    for (const name of ["commander", "prom-client", "tdigest", "@aws-sdk/client-s3", "@smithy/fetch-http-handler"])
      expect(names).toContain(name);
    for (const name of ["typescript", "kafkajs", "bun"]) expect(names).not.toContain(name);
    expect(renderLicenses(found)).toContain("\ncommander ");
  });
});
