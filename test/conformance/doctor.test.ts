/** `weir doctor` before a stub of S3 that does what a test cannot make a real one do: deny the lifecycle rules, have some, tell another time. */
import { afterAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { TemporaryFolder } from "../support/temporary.ts";
import { runTool, testIf } from "../support/tools.ts";
import { hasWeir, weirExecutable, weirMissing } from "../support/weir-process.ts";

const xml = (status: number, text: string): Response => new Response(`<?xml version="1.0" encoding="UTF-8"?>\n${text}`, { status });
const refusal = (status: number, code: string): Response => xml(status, `<Error><Code>${code}</Code><Message>${code}</Message></Error>`);

/** As much of S3 as doctor asks for. */
class StubS3 {
  lifecycle: () => Response = () => refusal(404, "NoSuchLifecycleConfiguration");
  clockOffsetMs = 0;
  readonly objects = new Map<string, Uint8Array>();
  readonly server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      const answer = await this.answer(request);
      answer.headers.set("date", new Date(Date.now() + this.clockOffsetMs).toUTCString());
      return answer;
    },
  });

  private async answer(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (searchParams.has("lifecycle")) return this.lifecycle();
    if (searchParams.has("list-type")) return xml(200, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>");
    const found = this.objects.get(pathname);
    if (request.method === "PUT") {
      if (found !== undefined && request.headers.get("if-none-match") === "*") return refusal(412, "PreconditionFailed");
      this.objects.set(pathname, new Uint8Array(await request.arrayBuffer()));
      return new Response(null, { status: 200 });
    }
    if (request.method === "DELETE") {
      this.objects.delete(pathname);
      return new Response(null, { status: 204 });
    }
    return found === undefined ? refusal(404, "NoSuchKey") : new Response(found.slice());
  }
}

interface Row {
  readonly check: string;
  readonly verdict: string;
  readonly detail: string;
  readonly remedy: string | null;
}

const rules = (...texts: readonly string[]): Response => xml(200, `<LifecycleConfiguration>${texts.join("")}</LifecycleConfiguration>`);
const rule = (id: string, prefix: string, action: string): string =>
  `<Rule><ID>${id}</ID><Filter>${prefix}</Filter><Status>Enabled</Status>${action}</Rule>`;
const EXPIRES = "<Expiration><Days>30</Days></Expiration>";

describe("weir doctor", () => {
  const stub = new StubS3();
  const folder = new TemporaryFolder("doctor");
  afterAll(async () => {
    await stub.server.stop(true);
    folder[Symbol.dispose]();
  });
  const take = testIf(hasWeir, weirMissing);

  async function examine(check: string): Promise<{ readonly exitCode: number; readonly row: Row | undefined }> {
    const store = `s3://bucket/weir?region=us-east-1&endpoint=http://127.0.0.1:${stub.server.port}&pathStyle=true`;
    const overrides = [`object.store=${store}`, `wal=file:${join(folder.path, "wal")}?size=64MiB`, "listeners=PLAINTEXT://127.0.0.1:0"];
    const args = overrides.flatMap((override) => ["--override", override]);
    const environment = { AWS_ACCESS_KEY_ID: "key", AWS_SECRET_ACCESS_KEY: "secret" };
    const { exitCode, stdout, stderr } = await runTool([weirExecutable, "doctor", "--output", "json", ...args], { environment });
    if (stdout === "") throw new Error(stderr);
    return { exitCode, row: (JSON.parse(stdout) as Row[]).find((row) => row.check === check) };
  }

  take("rules that may not be read are unknown, which fails nothing and says what would help", async () => {
    stub.lifecycle = () => refusal(403, "AccessDenied");
    const { exitCode, row } = await examine("lifecycle rules");
    expect(exitCode).toBe(0);
    expect(row).toEqual({
      check: "lifecycle rules",
      verdict: "unknown",
      detail: "they cannot be read: AccessDenied",
      remedy: "allow s3:GetLifecycleConfiguration to have them checked",
    });
  });

  take("no rules, and rules about something else, are fine", async () => {
    stub.lifecycle = () => refusal(404, "NoSuchLifecycleConfiguration");
    expect(await examine("lifecycle rules")).toMatchObject({ exitCode: 0, row: { verdict: "ok" } });
    stub.lifecycle = () =>
      rules(
        rule("elsewhere", "<Prefix>logs/</Prefix>", EXPIRES),
        rule("tagged", "<Tag><Key>temporary</Key><Value>yes</Value></Tag>", EXPIRES),
        rule("markers", "<Prefix></Prefix>", "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"),
        rule(
          "versions",
          "<Prefix></Prefix>",
          "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>",
        ),
      );
    expect(await examine("lifecycle rules")).toMatchObject({ exitCode: 0, row: { verdict: "ok" } });
  });

  take("a rule that expires or archives our objects is named, and fails", async () => {
    const glacier = "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>";
    stub.lifecycle = () => rules(rule("all-of-it", "<Prefix></Prefix>", EXPIRES), rule("cold", "<Prefix>weir/</Prefix>", glacier));
    const { exitCode, row } = await examine("lifecycle rules");
    expect([exitCode, row?.verdict, row?.detail]).toEqual([1, "failed", expect.stringContaining("all-of-it, cold expires or archives")]);
    stub.lifecycle = () => refusal(403, "AccessDenied");
  });

  // The Date header has a resolution of a second.
  take(
    "a clock is fine within two seconds, a warning within a minute, and fails beyond",
    async () => {
      for (const [offsetMs, verdict, code] of [
        [0, "ok", 0],
        [5_000, "warning", 0],
        [-5_000, "warning", 0],
        [59_000 - 3_000, "warning", 0],
        [65_000, "failed", 1],
        [-65_000, "failed", 1],
      ] as const) {
        stub.clockOffsetMs = offsetMs;
        const { exitCode, row } = await examine("clock");
        expect([offsetMs, exitCode, row?.verdict]).toEqual([offsetMs, code, verdict]);
      }
      stub.clockOffsetMs = 0;
    },
    60_000,
  );

  test("leaves nothing behind", () => {
    expect([...stub.objects.keys()]).toEqual([]);
  });
});
