/** What matters most of the matrix of clients (groups-matrix.ts), short. */
import { describe, expect } from "bun:test";
import { testIf } from "../support/tools.ts";
import { hasWeir, weirMissing } from "../support/weir-process.ts";
import { churn, killBrokers, migrate, restartStatic, type ScenarioResult } from "./groups-churn.ts";
import { consumerKinds, franzWithRange, memberKinds } from "./groups-members.ts";
import { manyGroups } from "./groups-thousand.ts";

const runsWith = (...missing: readonly (string | undefined)[]) => {
  const reason = hasWeir ? missing.find((each) => each !== undefined) : weirMissing;
  return testIf(reason === undefined, reason ?? "");
};

function report(name: string, { members, rebalances, records, reprocessed, problems }: ScenarioResult): void {
  console.log(`${name}: ${members} members, ${rebalances} rebalances, ${records} records processed, ${reprocessed} of them again`);
  expect(problems).toEqual([]);
}

const [java, librdkafka] = ["java", "confluent-kafka"].map((name) => memberKinds.find((kind) => kind.name === name));
const [javaConsumer, librdkafkaConsumer, franzConsumer] = consumerKinds;
if (!java || !librdkafka || !javaConsumer || !librdkafkaConsumer || !franzConsumer) throw new Error("a kind of member is missing");

describe("members of the consumer protocol", () => {
  runsWith(javaConsumer.missing)(
    `${javaConsumer.name}: the broker is killed with -9 under them`,
    async () => report(javaConsumer.name, await killBrokers(javaConsumer, 2)),
    240_000,
  );

  runsWith(librdkafkaConsumer.missing)(
    `${librdkafkaConsumer.name}: joins, leaves, kills, a broker killed with -9 and a rolling restart: no record skipped, none processed again below a commit`,
    async () => report(librdkafkaConsumer.name, await churn(librdkafkaConsumer)),
    240_000,
  );

  runsWith(franzConsumer.missing)(
    `${franzConsumer.name}: static members restart without a rebalance`,
    async () => report(franzConsumer.name, await restartStatic(franzConsumer)),
    120_000,
  );

  runsWith(franzConsumer.missing)(
    "100 groups go on where they were after a kill -9",
    async () => report("100 groups", await manyGroups(franzConsumer, 100, 1)),
    120_000,
  );

  runsWith(java.missing, librdkafka.missing, franzWithRange.missing)(
    "several clients in one group go over from the classic protocol and back, though the broker is killed on either way",
    async () => {
      const first = { before: java, upgraded: librdkafkaConsumer, after: franzWithRange };
      const second = { before: librdkafka, upgraded: javaConsumer, after: librdkafka };
      report("mixed", await migrate([first, second]));
    },
    240_000,
  );
});
