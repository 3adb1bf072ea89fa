/**
 * Scripts made from a seed: members of both protocols, dynamic and static, do anything in any order. One consumer stays, so that the group is never classic and nobody waits; it asks for
 * `range`, so that both servers give the same. Nobody is without topics: when such a member comes while a target is due, Kafka's `range` takes all members' topics for the first one's.
 */
import { Choice } from "../differential/choice.ts";
import { ClassicActor, ConsumerActor } from "./actors.ts";
import type { Script } from "./script.ts";
import type { Side } from "./side.ts";

const STEPS = 45;
const TOPIC_SETS: readonly (readonly string[])[] = [["t"], ["t"], ["u"], ["t", "u"]];

interface Cast {
  readonly anchor: ConsumerActor;
  readonly consumers: readonly ConsumerActor[];
  readonly classics: readonly ClassicActor[];
}

async function makeCast(side: Side): Promise<Cast> {
  const anchor = await ConsumerActor.make(side, "anchor");
  const consumers = [
    await ConsumerActor.make(side, "m1", { assignor: null }),
    await ConsumerActor.make(side, "m2", { assignor: null, instanceId: "i" }),
    await ConsumerActor.make(side, "m3", { assignor: null, instanceId: "i" }),
  ];
  // By the id of a classic member.
  const turned = await ConsumerActor.make(side, "turned", { assignor: null });
  Object.assign(turned, { memberId: "c1-id" });
  const classics = [
    await ClassicActor.make(side, "c1"),
    await ClassicActor.make(side, "c2", { protocols: ["cooperative-sticky", "range"] }),
    await ClassicActor.make(side, "s1", { instanceId: "i" }),
    await ClassicActor.make(side, "s2", { instanceId: "j" }),
  ];
  for (const each of classics.slice(0, 2)) each.memberId = `${each.name}-id`;
  return { anchor, consumers: [...consumers, turned], classics };
}

async function moveConsumer(actor: ConsumerActor, choice: Choice): Promise<void> {
  const { side } = actor;
  switch (choice.pick(["beat", "beat", "beat", "beat", "silent", "stubborn", "join", "leave", "away", "topics"])) {
    case "beat":
      await actor.beat();
      return;
    case "silent":
      await actor.beat({ topicPartitions: null });
      return;
    case "stubborn":
      await actor.beat({ topicPartitions: [{ topicId: side.topicId("t"), partitions: [0, 1, 2, 3, 4, 5] }] });
      return;
    case "join":
      actor.epoch = 0;
      await actor.beat();
      return;
    case "leave":
      await actor.leave();
      return;
    case "away":
      await actor.leave(actor.instanceId === null ? -1 : -2);
      return;
    default:
      actor.topics = choice.pick(TOPIC_SETS);
      await actor.beat({ subscribedTopicNames: actor.topics.map((topic) => topic + side.topics.suffix) });
  }
}

async function moveClassic(actor: ClassicActor, choice: Choice): Promise<void> {
  switch (choice.pick(["follow", "follow", "follow", "join", "bare", "sync", "beat", "anew", "leave", "topics"])) {
    case "follow":
      await actor.follow();
      return;
    case "join":
      await actor.joinNow();
      return;
    case "bare":
      actor.owned = {};
      await actor.joinNow();
      return;
    case "sync":
      await actor.syncNow();
      return;
    case "beat":
      await actor.beat();
      return;
    case "anew":
      if (actor.options.instanceId !== null) actor.memberId = "";
      if ((await actor.joinNow()) === 0) await actor.syncNow();
      return;
    case "leave":
      await actor.leave();
      return;
    default:
      actor.options = { ...actor.options, topics: choice.pick(TOPIC_SETS) };
      if ((await actor.joinNow()) === 0) await actor.syncNow();
  }
}

export function randomScript(seed: number): Script {
  return {
    name: `seed ${seed}`,
    async run(side) {
      const choice = new Choice(seed);
      const { anchor, consumers, classics } = await makeCast(side);
      await anchor.beat();
      for (let step = 0; step < STEPS; step++) {
        const kind = choice.pick(["consumer", "classic", "classic", "anchor", "anchor"]);
        if (kind === "anchor") await anchor.beat();
        else if (kind === "consumer") await moveConsumer(choice.pick(consumers), choice);
        else await moveClassic(choice.pick(classics), choice);
        if (step % 5 === 4) await side.describe();
      }
    },
  };
}
