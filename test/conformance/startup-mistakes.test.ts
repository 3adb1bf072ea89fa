/**
 * The executable and an operator's mistakes: each ends in one line on stderr that names key, value and remedy, with exit code 1 (a failure that may
 * pass) or 2 (usage or configuration), shows no credentials, and changes nothing. An object store that is merely away is in
 * store-away-at-start.test.ts.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SystemClock } from "../../src/base/system-clock.ts";
import { S3Store } from "../../src/objectstore/s3-store.ts";
import { canUseLoopDevices, LoopDevice, noLoopDevices } from "../support/loop-device.ts";
import { getFreePorts } from "../support/ports.ts";
import { S3_SERVERS, type S3Server, startS3Server, whyNoS3Server } from "../support/s3-servers.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { hasTool, mustRunTool, testIf } from "../support/tools.ts";
import { hasWeir, WeirProcess, weirExecutable, weirMissing } from "../support/weir-process.ts";
import { tableCrc32c } from "../unit/support/table-crc32c.ts";

const TIMEOUT_MS = 60_000;
const SERVER_BUILD_TIMEOUT_MS = 900_000;
const DEVICE_BYTES = 64 * 1024 ** 2;
/** For stubs, which do not look at them. */
const SOME_KEYS = { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE0STUB", AWS_SECRET_ACCESS_KEY: "stub+secret/0123456789" };
const NO_KEYS = {
  AWS_ACCESS_KEY_ID: "",
  AWS_SECRET_ACCESS_KEY: "",
  AWS_SESSION_TOKEN: "",
  AWS_PROFILE: "",
  AWS_WEB_IDENTITY_TOKEN_FILE: "",
  AWS_CONTAINER_CREDENTIALS_FULL_URI: "",
  AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "",
};

interface Mistake {
  readonly settings?: Readonly<Record<string, string>>;
  readonly environment?: Readonly<Record<string, string>>;
  readonly kafkaPort?: number;
  readonly httpPort?: number;
  readonly exitCode: 1 | 2;
  /** The key, its value, the remedy's keyword, and the trouble's code. */
  readonly says: readonly string[];
}

/** Every file below `folder` (a directory store's empty folders are no objects): what a start that fails must leave as it was. */
function listFiles(folder: string): readonly string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.flatMap((entry) => (entry.isFile() ? [join(entry.parentPath, entry.name)] : [])).sort();
}

async function expectMistake(mistake: Mistake, folder: string): Promise<void> {
  const before = listFiles(folder);
  const environment = { HOME: folder, AWS_EC2_METADATA_DISABLED: "true", ...NO_KEYS, ...mistake.environment };
  const { settings = {}, kafkaPort, httpPort } = mistake;
  await using weir = WeirProcess.spawn({
    folder,
    settings,
    environment,
    ...(kafkaPort === undefined ? {} : { kafkaPort }),
    ...(httpPort === undefined ? {} : { httpPort }),
  });
  const exitCode = await weir.waitExit();
  const line = weir.errorOutput().trimEnd();
  expect(line).toMatch(/^weir: .+; .+ \([a-z-]+\)$/);
  for (const word of mistake.says) expect(line).toContain(word);
  expect(exitCode).toBe(mistake.exitCode);
  for (const secret of [environment.AWS_ACCESS_KEY_ID, environment.AWS_SECRET_ACCESS_KEY]) {
    if (secret !== "") expect(weir.log()).not.toContain(secret);
  }
  expect(listFiles(folder)).toEqual(before);
}

/** `body` gets an empty folder, and the executable is there. */
function mistakeTest(name: string, body: (folder: string) => Promise<void>, isPossible = true, reason = ""): void {
  testIf(hasWeir && isPossible, hasWeir ? reason : weirMissing)(
    name,
    async () => {
      using folder = new TemporaryFolder("mistake");
      await body(folder.path);
    },
    TIMEOUT_MS,
  );
}

describe("configuration", () => {
  mistakeTest("an unknown key: the nearest is named", (folder) =>
    expectMistake({ settings: { "num.partitons": "3" }, exitCode: 2, says: ["num.partitons", "num.partitions"] }, folder),
  );
  mistakeTest("a bad value", (folder) =>
    expectMistake({ settings: { "num.partitions": "many" }, exitCode: 2, says: ["num.partitions=many", "integer"] }, folder),
  );
  mistakeTest("a bad place", (folder) =>
    expectMistake({ settings: { wal: "disk:/dev/sda" }, exitCode: 2, says: ["wal=disk:/dev/sda", "block:DEVICE"] }, folder),
  );
  mistakeTest("credentials in the endpoint are refused and not repeated", (folder) =>
    expectMistake(
      {
        settings: { "object.store": `s3://bucket/p?endpoint=http://${SOME_KEYS.AWS_ACCESS_KEY_ID}:hunter2pass@127.0.0.1:1` },
        environment: { ...SOME_KEYS, AWS_SECRET_ACCESS_KEY: "hunter2pass" },
        exitCode: 2,
        says: ["object.store=s3://bucket/p", "default chain", "***@127.0.0.1"],
      },
      folder,
    ),
  );
});

describe("ports", () => {
  mistakeTest("the Kafka port is in use", async (folder) => {
    const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
    try {
      const says = ["listeners", `127.0.0.1:${taken.port}`, "in use", "another port"];
      await expectMistake({ kafkaPort: taken.port, exitCode: 1, says }, folder);
    } finally {
      taken.stop();
    }
  });

  mistakeTest("the HTTP port is in use", async (folder) => {
    const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
    try {
      const says = [`http.listener=127.0.0.1:${taken.port}`, "in use", "another port"];
      await expectMistake({ httpPort: taken.port, exitCode: 1, says }, folder);
    } finally {
      taken.stop();
    }
  });
});

const digest = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

/** A device formatted by `weir wal format`. */
async function makeWalDevice(folder: string): Promise<LoopDevice> {
  const device = LoopDevice.tryCreate(folder, DEVICE_BYTES);
  if (device === undefined) throw new Error("a loop device was promised");
  await mustRunTool([weirExecutable, "wal", "format", device.path]);
  return device;
}

describe("the WAL device", () => {
  const deviceTest = (name: string, body: (folder: string) => Promise<void>, extraTool?: string): void =>
    mistakeTest(
      name,
      body,
      canUseLoopDevices && (extraTool === undefined || hasTool(extraTool)),
      canUseLoopDevices ? `${extraTool} is not installed` : noLoopDevices,
    );

  mistakeTest("is not there", (folder) =>
    expectMistake({ settings: { wal: "block:/dev/weir-none" }, exitCode: 2, says: ["wal=block:/dev/weir-none", "check the path"] }, folder),
  );

  deviceTest("is not formatted, or is no device", async (folder) => {
    using device = LoopDevice.tryCreate(folder, DEVICE_BYTES) as LoopDevice;
    mkdirSync(join(folder, "store"));
    const before = digest(device.path);
    const wal = `block:${device.path}`;
    await expectMistake({ settings: { wal, "object.store": "memory:" }, exitCode: 2, says: [`wal=${wal}`, "weir wal format"] }, folder);
    expect(digest(device.path)).toBe(before);
    writeFileSync(join(folder, "plain"), "mine");
    const plain = `block:${join(folder, "plain")}`;
    await expectMistake(
      { settings: { wal: plain, "object.store": "memory:" }, exitCode: 2, says: [`wal=${plain}`, "block device"] },
      folder,
    );
  });

  deviceTest("is another broker's at this moment", async (folder) => {
    using device = await makeWalDevice(folder);
    const wal = `block:${device.path}`;
    await using first = await WeirProcess.start({ folder, settings: { wal } });
    const settings = { wal, "node.id": "2", "object.store": "memory:" };
    await expectMistake({ settings, exitCode: 1, says: [`wal=${wal}`, "stop the other broker", "wal-device-busy"] }, folder);
    expect(await first.isReady()).toBe(true);
  });

  deviceTest(
    "is mounted",
    async (folder) => {
      using device = LoopDevice.tryCreate(folder, DEVICE_BYTES) as LoopDevice;
      const mountPoint = join(folder, "mounted");
      mkdirSync(mountPoint);
      await mustRunTool(["mkfs.ext4", "-q", device.path]);
      await mustRunTool(["mount", device.path, mountPoint]);
      try {
        const wal = `block:${device.path}`;
        await expectMistake(
          { settings: { wal, "object.store": "memory:" }, exitCode: 2, says: [`wal=${wal}`, "mounted", "unmount"] },
          folder,
        );
      } finally {
        await mustRunTool(["umount", mountPoint]);
      }
    },
    "mkfs.ext4",
  );

  deviceTest("belongs to another node or another cluster", async (folder) => {
    using device = await makeWalDevice(folder);
    const wal = `block:${device.path}`;
    {
      await using owner = await WeirProcess.start({ folder, settings: { wal } });
      expect(await owner.stop()).toBe(0);
    }
    {
      const settings = { wal: "memory:", "object.store": `file:${join(folder, "other-store")}` };
      await using other = await WeirProcess.start({ folder, settings });
      expect(await other.stop()).toBe(0);
    }
    const before = digest(device.path);
    const otherNode = { wal, "node.id": "7" };
    await expectMistake({ settings: otherNode, exitCode: 2, says: [`wal=${wal}`, "node.id=1", "node.id=7", "WAL of its own"] }, folder);
    const otherCluster = { wal, "object.store": `file:${join(folder, "other-store")}` };
    await expectMistake(
      { settings: otherCluster, exitCode: 2, says: ["other-store", "wal=", "object.store", "wal-foreign-cluster"] },
      folder,
    );
    mkdirSync(join(folder, "empty-store", ".tmp"), { recursive: true });
    const noCluster = { wal, "object.store": `file:${join(folder, "empty-store")}` };
    await expectMistake({ settings: noCluster, exitCode: 2, says: ["empty-store", "object.store", "cluster-missing"] }, folder);
    expect(digest(device.path)).toBe(before);
  });
});

describe("the broker", () => {
  mistakeTest("another one is alive with this node id", async (folder) => {
    await using first = await WeirProcess.start({ folder });
    const settings = { wal: "memory:" };
    await expectMistake({ settings, exitCode: 1, says: ["node.id=1", first.bootstrap, "another node.id", "broker-alive"] }, folder);
    expect(await first.isReady()).toBe(true);
  });
});

/** Answers every request with one S3 error document. */
function startStub(status: number, document: string, headers: Record<string, string> = {}) {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error>${document}<RequestId>1</RequestId></Error>`;
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => new Response(body, { status, headers: { "content-type": "application/xml", ...headers } }),
  });
}

describe("an S3 store that answers with a refusal", () => {
  const stubTest = (name: string, status: number, document: string, exitCode: 1 | 2, words: readonly string[], headers = {}): void =>
    mistakeTest(name, async (folder) => {
      const stub = startStub(status, document, headers);
      try {
        const settings = { "object.store": `s3://bucket/p?endpoint=http://127.0.0.1:${stub.port}&pathStyle=true&region=eu-west-3` };
        const says = ["object.store s3://bucket/p", `127.0.0.1:${stub.port}`, ...words];
        await expectMistake({ settings, environment: SOME_KEYS, exitCode, says }, folder);
      } finally {
        await stub.stop(true);
      }
    });

  stubTest(
    "clock skew",
    403,
    "<Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the current time is too large.</Message>",
    1,
    ["wall clock", "store-clock-skew"],
  );
  stubTest(
    "another region, as Amazon redirects",
    301,
    "<Code>PermanentRedirect</Code><Message>The bucket must be addressed using another endpoint.</Message>",
    2,
    ["eu-west-3", "region=", "store-wrong-region"],
    { "x-amz-bucket-region": "eu-central-1" },
  );
});

describe("an S3 store that is not there", () => {
  mistakeTest("nobody listens at the endpoint", async (folder) => {
    const [port] = getFreePorts(1);
    const settings = { "object.store": `s3://bucket/p?endpoint=http://127.0.0.1:${port}&pathStyle=true` };
    const says = ["object.store s3://bucket/p", `127.0.0.1:${port}`, "endpoint", "store-unreachable"];
    await expectMistake({ settings, environment: SOME_KEYS, exitCode: 1, says }, folder);
  });

  mistakeTest("the endpoint's name does not resolve", async (folder) => {
    const settings = { "object.store": "s3://bucket/p?endpoint=http://store.invalid:9000&pathStyle=true" };
    await expectMistake(
      { settings, environment: SOME_KEYS, exitCode: 1, says: ["store.invalid", "endpoint", "store-unreachable"] },
      folder,
    );
  });
});

for (const kind of S3_SERVERS) {
  const reason = whyNoS3Server(kind) ?? (hasWeir ? undefined : weirMissing);
  describe.skipIf(reason !== undefined)(`an S3 store, on ${kind}${reason === undefined ? "" : ` (skipped: ${reason})`}`, () => {
    let server: S3Server;
    let keys: Record<string, string>;

    beforeAll(async () => {
      server = await startS3Server(kind);
      keys = { AWS_ACCESS_KEY_ID: server.credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: server.credentials.secretAccessKey };
    }, SERVER_BUILD_TIMEOUT_MS);
    afterAll(async () => {
      await server?.[Symbol.asyncDispose]();
    });

    const place = ({ bucket = server.bucket, region = server.region, endpoint = server.endpoint } = {}): Record<string, string> => ({
      "object.store": `s3://${bucket}/weir?region=${region}&endpoint=${endpoint}&pathStyle=true`,
    });
    const openStore = () => new S3Store({ ...server, prefix: "", pathStyle: true, clock: new SystemClock(), crc32c: tableCrc32c });

    const s3Test = (name: string, makeMistake: () => Mistake): void =>
      mistakeTest(name, async (folder) => {
        await expectMistake(makeMistake(), folder);
        expect((await openStore().list("")).objects).toEqual([]);
      });

    s3Test("no such bucket", () => ({
      settings: place({ bucket: "no-such-bucket" }),
      environment: keys,
      exitCode: 2,
      says: ["object.store s3://no-such-bucket/weir", "Create it", "store-no-bucket"],
    }));

    s3Test("no credentials", () => ({
      settings: place(),
      exitCode: 1,
      says: ["object.store s3://", "AWS_ACCESS_KEY_ID", "store-no-credentials"],
    }));

    test(
      "no credentials where instance metadata swallows requests: the search has an end",
      async () => {
        const silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
        using folder = new TemporaryFolder("mistake");
        try {
          const environment = {
            AWS_EC2_METADATA_DISABLED: "false",
            AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://127.0.0.1:${silent.port}`,
          };
          await expectMistake({ settings: place(), environment, exitCode: 1, says: ["store-no-credentials"] }, folder.path);
        } finally {
          silent.stop(true);
        }
      },
      TIMEOUT_MS,
    );

    s3Test("a wrong secret", () => ({
      settings: place(),
      environment: { ...keys, AWS_SECRET_ACCESS_KEY: "another-secret-456" },
      exitCode: 1,
      says: ["object.store s3://", "SignatureDoesNotMatch", "credentials", "store-access-denied"],
    }));

    s3Test("an unknown access key", () => ({
      settings: place(),
      environment: { ...keys, AWS_ACCESS_KEY_ID: "AKIDNOBODY000001" },
      exitCode: 1,
      says: ["object.store s3://", "credentials", "store-access-denied"],
    }));

    s3Test("a wrong region", () => ({
      settings: place({ region: "eu-north-1" }),
      environment: keys,
      exitCode: 2,
      says: ["object.store s3://", "eu-north-1", "region=", "store-wrong-region"],
    }));

    mistakeTest("conditional writes are not honoured", async (folder) => {
      const proxy = startUnconditionalProxy(server, openStore());
      try {
        const settings = place({ endpoint: `http://127.0.0.1:${proxy.port}` });
        const says = ["object.store s3://", "If-None-Match", "conditional writes", "store-no-conditional-writes"];
        await expectMistake({ settings, environment: keys, exitCode: 2, says }, folder);
      } finally {
        await proxy.stop(true);
      }
      expect((await openStore().list("")).objects).toEqual([]);
    });
  });
}

/** Passes requests on as they are (the Host header too, so that signatures hold), but writes without the condition. */
function startUnconditionalProxy({ endpoint, bucket }: S3Server, store: S3Store) {
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const { pathname, search } = new URL(request.url);
      if (request.method === "PUT") {
        await store.put(pathname.slice(`/${bucket}/`.length), new Uint8Array(await request.arrayBuffer()));
        return new Response(null, { headers: { etag: '"0"' } });
      }
      const answer = await fetch(endpoint + pathname + search, { method: request.method, headers: request.headers });
      return new Response(await answer.arrayBuffer(), { status: answer.status, headers: answer.headers });
    },
  });
}
