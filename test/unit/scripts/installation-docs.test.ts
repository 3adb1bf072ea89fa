/** The IAM policy in docs/installation.md allows exactly what the code asks of S3: neither less, which would end a start, nor more. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { Glob } from "bun";

const root = join(import.meta.dir, "../../..");

/** The SDK's command -> what AWS wants to see allowed for it. */
const actions: Readonly<Record<string, string>> = {
  PutObjectCommand: "s3:PutObject",
  GetObjectCommand: "s3:GetObject",
  DeleteObjectCommand: "s3:DeleteObject",
  DeleteObjectsCommand: "s3:DeleteObject",
  ListObjectsV2Command: "s3:ListBucket",
};

/** What `weir doctor` alone sends, and does without: the document names the permission beside the policy. */
const optional: Readonly<Record<string, string>> = { GetBucketLifecycleConfigurationCommand: "s3:GetLifecycleConfiguration" };

interface Policy {
  readonly Statement: readonly { readonly Action: string | readonly string[] }[];
}

test("the policy has the actions of the commands that src/ sends, and no others", async () => {
  const wanted = new Set<string>();
  const document = await Bun.file(join(root, "docs/installation.md")).text();
  for await (const path of new Glob("src/**/*.ts").scan(root)) {
    const text = await Bun.file(join(root, path)).text();
    if (!text.includes("@aws-sdk/client-s3")) continue;
    for (const [, command = ""] of text.matchAll(/new (\w+Command)\(/g)) {
      const permission = optional[command];
      if (permission === undefined) wanted.add(actions[command] ?? `unknown: ${command}`);
      else expect(document).toContain(`\`${permission}\``);
    }
  }
  const policy = JSON.parse(/```json\n([\s\S]+?)```/.exec(document)?.[1] ?? "{}") as Policy;
  const allowed = policy.Statement.flatMap(({ Action }) => Action);
  expect(new Set(allowed)).toEqual(wanted);
});

test("documents link to files and sections that exist", async () => {
  const anchors = async (path: string): Promise<ReadonlySet<string>> => {
    const headings = (await Bun.file(path).text()).matchAll(/^#{1,4} (.+)$/gm);
    return new Set(
      [...headings].map(([, text = ""]) =>
        text
          .toLowerCase()
          .replace(/[^\w\- ]/g, "")
          .replaceAll(" ", "-"),
      ),
    );
  };
  for (const name of ["installation", "operations", "security", "metrics"]) {
    const text = await Bun.file(join(root, `docs/${name}.md`)).text();
    for (const [, target = ""] of text.matchAll(/\]\(([^)]+)\)/g)) {
      if (target.startsWith("http")) continue;
      const [file = "", anchor] = target.split("#");
      const path = join(root, "docs", file === "" ? `${name}.md` : file);
      expect([target, await Bun.file(path).exists()]).toEqual([target, true]);
      if (anchor !== undefined) expect([target, (await anchors(path)).has(anchor)]).toEqual([target, true]);
    }
  }
});
