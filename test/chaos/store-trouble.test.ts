/** The bucket in trouble, each kind for some seconds; `bun test/chaos/store-trouble.ts` runs them at full length. */
import { describe, expect, test } from "bun:test";
import { whyNoS3Server } from "../support/s3-servers.ts";
import { hasWeir, weirMissing } from "../support/weir-process.ts";
import { runTrouble, SCENARIO_NAMES, type TroubleResult } from "./store-trouble.ts";

const STORE = "versitygw";
/** Little load, since all kinds run at once; large records where a WAL must fill. */
const LITTLE = { pauseMs: 60 };
const FILLING = { pauseMs: 20, fillerBytes: 20_000 };
const SECONDS: Readonly<Record<string, number>> = { credentials: 6 };

const reason = hasWeir ? whyNoS3Server(STORE) : weirMissing;

describe.skipIf(reason !== undefined)(`a bucket in trouble${reason === undefined ? "" : ` (skipped: ${reason})`}`, () => {
  let runs: ReadonlyMap<string, Promise<TroubleResult>> | undefined;
  /** All begin with the first test: most of their time is waiting. */
  const runOf = (name: string): Promise<TroubleResult> | undefined => {
    runs ??= new Map(
      SCENARIO_NAMES.map((each, index) => {
        const seconds = SECONDS[each] ?? 3;
        const load = each === "outage-full" ? FILLING : LITTLE;
        return [each, runTrouble(each, { seconds, calmSeconds: 1, store: STORE, wal: "file", seed: index + 1, ...load })];
      }),
    );
    return runs.get(name);
  };

  test.each([...SCENARIO_NAMES])(
    "%s",
    async (name) => {
      const result = await runOf(name);
      console.log(result?.summary);
      expect(result?.findings).toEqual([]);
    },
    180_000,
  );
});
