/** Committed offsets: OffsetCommit, OffsetFetch, OffsetDelete, by members and by nobody. */
import * as offsetCommit from "../../../src/protocol/messages/offset-commit.ts";
import * as offsetDelete from "../../../src/protocol/messages/offset-delete.ts";
import * as offsetFetch from "../../../src/protocol/messages/offset-fetch.ts";
import type { Choice } from "./choice.ts";
import { chooseGroup, chooseSpeaker, speak } from "./group-steps.ts";
import { leaderEpoch, type Model } from "./model.ts";
import { type Bindings, newStep, type Step } from "./step.ts";

interface Place {
  readonly topic: string;
  readonly partition: number;
}

export function choosePlaces(model: Model, choice: Choice): Place[] {
  const places: Place[] = [];
  for (
    let more = choice.weighted([
      [6, 1],
      [3, 2],
      [1, 4],
    ]);
    more > 0;
    more--
  ) {
    const topic = model.topicName(choice);
    const partition = model.partition(topic, choice);
    if (!places.some((other) => other.topic === topic && other.partition === partition)) places.push({ topic, partition });
  }
  return places;
}

export function placesByTopic<T extends Place>(places: readonly T[]): [string, T[]][] {
  const topics = new Map<string, T[]>();
  for (const place of places) topics.set(place.topic, [...(topics.get(place.topic) ?? []), place]);
  return [...topics];
}

function named(topic: string, byId: boolean, bindings: Bindings): { name: string } | { topicId: string } {
  return byId ? { topicId: bindings.topicId(topic) } : { name: topic };
}

/** Who commits. */
export interface CommitIdentity {
  readonly memberId: string;
  readonly generationId: number;
  readonly groupInstanceId: string | null;
}

/** `longest`: a note that nobody takes. */
export function commitStep(
  model: Model,
  choice: Choice,
  version: number,
  groupId: string,
  longest: boolean,
  who: (bindings: Bindings) => CommitIdentity,
): Step {
  const places = choosePlaces(model, choice).map((place) => ({
    ...place,
    committedOffset: choice.mostly(choice.int(50), [-1, 0, 1_000_000_000_000], 0.9),
    committedLeaderEpoch: leaderEpoch(choice),
    committedMetadata: choice.mostly(`note ${choice.int(9)}`, ["", null, "m".repeat(4096), longest ? "m".repeat(4097) : "n"], 0.7),
  }));
  return newStep(offsetCommit, offsetCommit.offsetCommitApi, version, (bindings) => {
    const said = who(bindings);
    return offsetCommit.newOffsetCommitRequest({
      groupId,
      generationIdOrMemberEpoch: said.generationId,
      memberId: said.memberId,
      groupInstanceId: version >= 7 ? said.groupInstanceId : null,
      topics: placesByTopic(places).map(([topic, parts]) =>
        offsetCommit.newOffsetCommitRequestTopic({
          ...named(topic, version >= 10, bindings),
          partitions: parts.map((part) =>
            offsetCommit.newOffsetCommitRequestPartition({
              partitionIndex: part.partition,
              committedOffset: BigInt(part.committedOffset),
              committedLeaderEpoch: part.committedLeaderEpoch,
              committedMetadata: part.committedMetadata,
            }),
          ),
        }),
      ),
    });
  });
}

export function offsetCommitSteps(model: Model, choice: Choice): Step[] {
  const group = chooseGroup(model, choice);
  const speaker = chooseSpeaker(group, choice);
  // Too long a note from nobody would leave a group in Kafka's memory that no record tells of: some of its answers know it, some do not.
  const longest = group.member !== undefined;
  return [commitStep(model, choice, model.version(8, choice), group.name, longest, (bindings) => speak(group, speaker, bindings))];
}

/** Who asks, from version 9 on. */
export interface Asker {
  readonly groupId: string;
  readonly memberId: string | null;
  readonly memberEpoch: (bindings: Bindings) => number;
}

/** The first of the groups, in a version that asks of one. */
export function fetchOffsetsStep(model: Model, choice: Choice, version: number, askers: readonly Asker[]): Step {
  const isAll = version >= 2 && choice.chance(0.4);
  const places = choosePlaces(model, choice);
  const requireStable = version >= 7 && choice.chance(0.4);
  return newStep(offsetFetch, offsetFetch.offsetFetchApi, version, (bindings) => {
    const topics = placesByTopic(places).map(([topic, parts]) => ({
      ...named(topic, version >= 10, bindings),
      partitionIndexes: parts.map((part) => part.partition),
    }));
    return offsetFetch.newOffsetFetchRequest({
      requireStable,
      groupId: version < 8 ? (askers[0]?.groupId ?? "") : "",
      topics: version >= 8 ? [] : isAll ? null : topics.map((topic) => offsetFetch.newOffsetFetchRequestTopic(topic)),
      groups:
        version < 8
          ? []
          : askers.map(({ groupId, memberId, memberEpoch }) =>
              offsetFetch.newOffsetFetchRequestGroup({
                groupId,
                memberId: version >= 9 ? memberId : null,
                memberEpoch: version >= 9 ? memberEpoch(bindings) : -1,
                topics: isAll ? null : topics.map((topic) => offsetFetch.newOffsetFetchRequestTopics(topic)),
              }),
            ),
    });
  });
}

export function offsetFetchSteps(model: Model, choice: Choice): Step[] {
  const version = model.version(9, choice);
  const groups = [chooseGroup(model, choice)];
  if (version >= 8 && choice.chance(0.3)) {
    const more = chooseGroup(model, choice);
    if (more !== groups[0]) groups.push(more);
  }
  const memberEpoch = choice.mostly(-1, [0, 3], 0.9);
  const memberId = memberEpoch === -1 ? null : "someone";
  const firstId = choice.mostly(groups[0]?.name ?? "", ["", `${model.prefix}-no-group`], 0.93);
  const askers = groups.map(
    ({ name }, index): Asker => ({ groupId: index === 0 ? firstId : name, memberId, memberEpoch: () => memberEpoch }),
  );
  return [fetchOffsetsStep(model, choice, version, askers)];
}

export function offsetDeleteSteps(model: Model, choice: Choice): Step[] {
  const group = chooseGroup(model, choice);
  return [deleteOffsetsStep(model, choice, choice.mostly(group.name, ["", `${model.prefix}-no-group`], 0.9))];
}

export function deleteOffsetsStep(model: Model, choice: Choice, groupId: string): Step {
  const places = choosePlaces(model, choice);
  const request = () =>
    offsetDelete.newOffsetDeleteRequest({
      groupId,
      topics: placesByTopic(places).map(([name, parts]) =>
        offsetDelete.newOffsetDeleteRequestTopic({
          name,
          partitions: parts.map((part) => offsetDelete.newOffsetDeleteRequestPartition({ partitionIndex: part.partition })),
        }),
      ),
    });
  return newStep(offsetDelete, offsetDelete.offsetDeleteApi, model.version(47, choice), request);
}
