/**
 * M10: an object store that is away when a broker starts is no mistake. The broker waits, says so, and comes up when the store does, also
 * when it has a tail in its WAL to recover; a signal ends the wait cleanly.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, fetchAll, produceValues } from "../support/raw-client.ts";
import { type FaultProxy, S3_SERVERS, type S3Server, startFaultProxy, startS3Server, whyNoS3Server } from "../support/s3-servers.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { hasWeir, type WeirOptions, WeirProcess, weirMissing } from "../support/weir-process.ts";

const OUTAGE = "/outage?ms=600000&mode=503";
const OUTAGE_ENDS = "/outage?ms=0&mode=503";

for (const kind of S3_SERVERS) {
  const reason = whyNoS3Server(kind) ?? (hasWeir ? undefined : weirMissing);
  describe.skipIf(reason !== undefined)(
    `a store that is away at start, ${kind}${reason === undefined ? "" : ` (skipped: ${reason})`}`,
    () => {
      let server: S3Server;
      let proxy: FaultProxy;

      beforeAll(async () => {
        server = await startS3Server(kind);
        proxy = await startFaultProxy(server.endpoint, 1);
      }, 900_000);
      afterAll(async () => {
        await proxy?.[Symbol.asyncDispose]();
        await server?.[Symbol.asyncDispose]();
      });

      const options = (folder: string, prefix: string): WeirOptions => ({
        folder,
        settings: {
          "object.store": `s3://${server.bucket}/${prefix}?region=${server.region}&endpoint=${proxy.endpoint}&pathStyle=true`,
          // Nothing is uploaded by itself, so a killed broker leaves its tail in the WAL.
          "upload.interval.ms": "600000",
        },
        environment: { AWS_ACCESS_KEY_ID: server.credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: server.credentials.secretAccessKey },
      });

      const readReadiness = async ({ httpPort }: WeirProcess): Promise<{ status: number; text: string }> => {
        const answer = await fetch(`http://127.0.0.1:${httpPort}/readyz`);
        return { status: answer.status, text: await answer.text() };
      };

      test("a new cluster, and a tail to recover: both starts wait and come up", async () => {
        using folder = new TemporaryFolder("away");
        await proxy.post(OUTAGE);
        {
          await using weir = WeirProcess.spawn(options(folder.path, "waits"));
          await weir.waitForLog("store.unavailable");
          const { status, text } = await readReadiness(weir);
          expect(status).toBe(503);
          expect(text).toContain("waits: object.store s3://");
          await proxy.post(OUTAGE_ENDS);
          await weir.waitForLog("broker.started");
          expect(weir.log()).toContain("store.recovered");
          using connection = await KafkaConnection.open(weir.kafkaPort);
          expect((await createTopicRaw(connection, "kept")).errorCode).toBe(0);
          expect((await produceValues(connection, "kept", 0, ["one", "two"])).errorCode).toBe(0);
          await weir.kill();
        }
        await proxy.post(OUTAGE);
        await using weir = WeirProcess.spawn(options(folder.path, "waits"));
        await weir.waitForLog("store.unavailable");
        await proxy.post(OUTAGE_ENDS);
        await weir.waitForLog("broker.started");
        using connection = await KafkaConnection.open(weir.kafkaPort);
        expect((await fetchAll(connection, "kept", 0)).map((record) => record.value.toString())).toEqual(["one", "two"]);
        expect(await weir.stop()).toBe(0);
      }, 60_000);

      test("a start asks little, proves conditional writes before it creates anything, and keeps to the cluster's folder", async () => {
        using folder = new TemporaryFolder("requests");
        const where = options(folder.path, "requests");
        const kinds: string[][] = [];
        for (const _ of ["new", "again"]) {
          await proxy.post("/reset");
          await using weir = await WeirProcess.start(where);
          const clusterId = /clusterId=(\S+)/.exec(weir.log())?.[1] ?? "";
          const below = `/${server.bucket}/requests/`;
          const kindOf = (method: string, url: string): string => {
            const { pathname, searchParams } = new URL(url, server.endpoint);
            const key = searchParams.has("list-type")
              ? (searchParams.get("prefix") ?? "").replace("requests/", "")
              : pathname.slice(below.length);
            expect([key, key === "weir.cluster" || key.startsWith(`${clusterId}/`)]).toEqual([key, true]);
            return `${method} ${key
              .replace(`${clusterId}/`, "")
              .split("/")
              .slice(0, 2)
              .join("/")
              .replace(/probe\/.*/, "probe")}`;
          };
          kinds.push((await proxy.requests()).map(({ method, url }) => kindOf(method, url)));
          expect(await weir.stop()).toBe(0);
        }
        const probe = ["GET weir.cluster", "PUT probe", "PUT probe", "GET probe", "DELETE probe"];
        expect(kinds[0]?.slice(0, 6)).toEqual([...probe, "PUT weir.cluster"]);
        expect(kinds[1]?.slice(0, 5)).toEqual(probe);
        expect(kinds[1]).not.toContain("PUT weir.cluster");
        for (const requests of kinds) expect(requests.length).toBeLessThanOrEqual(20);
      }, 60_000);

      test("slots that cannot be written and checkpoints that cannot be read are waited for too", async () => {
        using folder = new TemporaryFolder("later");
        const where = options(folder.path, "later");
        {
          await using weir = await WeirProcess.start(where);
          using connection = await KafkaConnection.open(weir.kafkaPort);
          expect((await createTopicRaw(connection, "kept")).errorCode).toBe(0);
          expect((await produceValues(connection, "kept", 0, ["in an object"])).errorCode).toBe(0);
          expect(await weir.stop()).toBe(0);
        }
        {
          await using weir = await WeirProcess.start(where);
          using connection = await KafkaConnection.open(weir.kafkaPort);
          expect((await produceValues(connection, "kept", 0, ["in the WAL"])).errorCode).toBe(0);
          await weir.kill();
        }
        await proxy.configure({ slowDownRate: 1, match: "/(data|meta/log)/", methods: ["PUT"] });
        await using weir = WeirProcess.spawn(where);
        const refused = async (): Promise<number> => Number((await proxy.stats()).slowDown ?? 0);
        while ((await refused()) < 10) await Bun.sleep(20);
        expect(weir.log()).not.toContain("broker.started");
        await proxy.configure({ slowDownRate: 1, match: "/data/", methods: ["GET"] });
        await weir.waitForLog("broker.started");
        await weir.waitForLog("partition.open-failed");
        const { status, text } = await readReadiness(weir);
        expect([status, text]).toEqual([503, expect.stringContaining("1 recovered partitions are not open yet: object.store s3://")]);
        await proxy.configure({});
        while (!(await weir.isReady())) await Bun.sleep(20);
        using connection = await KafkaConnection.open(weir.kafkaPort);
        expect((await fetchAll(connection, "kept", 0)).map((record) => record.value.toString())).toEqual(["in an object", "in the WAL"]);
        expect(await weir.stop()).toBe(0);
      }, 120_000);

      test("SIGTERM ends the wait with exit code 0", async () => {
        using folder = new TemporaryFolder("away");
        await proxy.post(OUTAGE);
        await using weir = WeirProcess.spawn(options(folder.path, "signal"));
        await weir.waitForLog("store.unavailable");
        expect(await weir.stop()).toBe(0);
        expect(weir.log()).toContain("broker.stopped");
        expect(weir.errorOutput()).toBe("");
        await proxy.post(OUTAGE_ENDS);
      }, 60_000);
    },
  );
}
