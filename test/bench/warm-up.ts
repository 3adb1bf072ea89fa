/** Mixed load on every server at once before anything is measured, so that each is measured warm: a server with a just-in-time compiler most of all. */
import { alternate, type BenchContext } from "./row.ts";
import { type BenchServer, WEIR_WAL_LAP_BYTES } from "./servers.ts";

const ROUND_SECONDS = 2;

export async function warmUp(context: BenchContext): Promise<void> {
  const { load, options, servers } = context;
  if (load === undefined || options.warmUpSeconds === 0) return;
  context.progress("writing the first lap of weir's WAL");
  const lap = { bootstrap: context.weir.bootstrap, topic: context.newTopic() };
  await load.command("create", { ...lap, partitions: 1 });
  await load.command("produce", { ...lap, seconds: 600, maxBytes: WEIR_WAL_LAP_BYTES, data: options.data, batch: 1_048_576, linger: 5 });
  await load.command("delete", { bootstrap: lap.bootstrap, topic: lap.topic });
  context.progress(`warming up for ${options.warmUpSeconds} s`);
  const end = performance.now() + options.warmUpSeconds * 1000;
  const warmOne = async (server: BenchServer): Promise<void> => {
    const { bootstrap } = server;
    const { data } = options;
    while (performance.now() < end) {
      const topic = context.newTopic();
      await load.command("create", { bootstrap, topic, partitions: 1 });
      await alternate(2, [16_384, 1_048_576], async (batch) => {
        await load.command("produce", {
          bootstrap,
          topic,
          seconds: ROUND_SECONDS,
          maxBytes: 300e6,
          data,
          batch,
          linger: batch > 20_000 ? 5 : 0,
        });
        await load.command("consume", { bootstrap, topic, maxBytes: 300e6 });
      });
      await load.command("rate", { bootstrap, topic, rate: 2000, seconds: ROUND_SECONDS, warmUp: 0, data, consume: true });
      await load.command("transactions", { bootstrap, topic, seconds: ROUND_SECONDS, maxBytes: 100e6, data, records: 10, ids: 2 });
      await load.command("delete", { bootstrap, topic });
    }
    await server.settle();
  };
  await Promise.all(servers.filter(({ name }) => name !== "discard").map(warmOne));
  const discards = servers.filter(({ name }) => name === "discard");
  for (const { bootstrap } of discards) {
    await load.command("produce", { bootstrap, topic: context.newTopic(), seconds: ROUND_SECONDS, data: options.data, batch: 16_384 });
  }
}
