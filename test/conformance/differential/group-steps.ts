/**
 * Classic groups and offsets. A group of these sequences has at most one member that waits for nobody, so that its answers do not depend on time; a
 * second member comes only in `pairSteps`, which waits for the rebalance it begins.
 */
import * as deleteGroups from "../../../src/protocol/messages/delete-groups.ts";
import * as describeGroups from "../../../src/protocol/messages/describe-groups.ts";
import * as findCoordinator from "../../../src/protocol/messages/find-coordinator.ts";
import * as heartbeat from "../../../src/protocol/messages/heartbeat.ts";
import * as joinGroup from "../../../src/protocol/messages/join-group.ts";
import * as leaveGroup from "../../../src/protocol/messages/leave-group.ts";
import * as listGroups from "../../../src/protocol/messages/list-groups.ts";
import * as syncGroup from "../../../src/protocol/messages/sync-group.ts";
import type { Choice } from "./choice.ts";
import type { GroupModel, Model } from "./model.ts";
import { type Bindings, newStep, type Step } from "./step.ts";

const strangerId = "stranger-00000000-0000-0000-0000-000000000000";

export function chooseGroup(model: Model, choice: Choice): GroupModel {
  const known = model.groups.length > 0 && choice.chance(model.groups.length >= 3 ? 1 : 0.8);
  if (known) return choice.pick(model.groups);
  const group: GroupModel = { name: model.next("g"), member: undefined, instance: null, protocolType: "consumer", isSynced: false };
  model.groups.push(group);
  return group;
}

const generationOf = (group: string) => `generation:${group}`;

function memberId(group: GroupModel, bindings: Bindings): string {
  return group.member === undefined ? "" : bindings.string(group.member, strangerId);
}

export interface Speaker {
  readonly kind: "self" | "stranger" | "nobody";
  readonly generationShift: number;
  readonly instance: string | null;
}

/** Mostly the member itself in its generation. */
export function chooseSpeaker(group: GroupModel, choice: Choice): Speaker {
  const kind = choice.mostly<Speaker["kind"]>(group.member === undefined ? "nobody" : "self", ["stranger", "nobody"], 0.88);
  return {
    kind,
    generationShift: choice.mostly(0, [1, -1, 100], 0.9),
    instance: choice.mostly(group.instance, [null, "another-instance"], 0.95),
  };
}

export function speak(
  group: GroupModel,
  speaker: Speaker,
  bindings: Bindings,
): { memberId: string; generationId: number; groupInstanceId: string | null } {
  const id = speaker.kind === "self" ? memberId(group, bindings) : speaker.kind === "stranger" ? strangerId : "";
  const known = bindings.number(generationOf(group.name), -1);
  const generationId = speaker.kind === "nobody" ? -1 + speaker.generationShift : known + speaker.generationShift;
  return { memberId: id, generationId, groupInstanceId: speaker.instance };
}

interface JoinWish {
  readonly version: number;
  readonly group: GroupModel;
  /** Binding of the member's id; its stand-in is the empty id. */
  readonly member: string;
  readonly instance: string | null;
  readonly protocolType: string;
  readonly protocols: readonly string[];
  readonly sessionTimeoutMs: number;
  readonly metadata: string;
  readonly isStranger: boolean;
}

function joinStep(wish: JoinWish, options: { readonly hold?: string; readonly settleState?: string } = {}): Step {
  const { group } = wish;
  return newStep(
    joinGroup,
    joinGroup.joinGroupApi,
    wish.version,
    (bindings) =>
      joinGroup.newJoinGroupRequest({
        groupId: group.name,
        sessionTimeoutMs: wish.sessionTimeoutMs,
        rebalanceTimeoutMs: 60_000,
        memberId: wish.isStranger ? strangerId : bindings.string(wish.member, ""),
        groupInstanceId: wish.version >= 5 ? wish.instance : null,
        protocolType: wish.protocolType,
        protocols: wish.protocols.map((name) => joinGroup.newJoinGroupRequestProtocol({ name, metadata: Buffer.from(wish.metadata) })),
        reason: "a test joins",
      }),
    {
      bind: (answer, bindings) => {
        if (answer.memberId !== "" && !wish.isStranger) bindings.set(wish.member, answer.memberId);
        if (answer.errorCode === 0) bindings.set(generationOf(group.name), answer.generationId);
      },
      ...(options.hold === undefined ? {} : { hold: options.hold }),
      ...(options.settleState === undefined
        ? {}
        : { settle: () => [{ kind: "group-state", group: group.name, state: options.settleState ?? "" }] as const }),
    },
  );
}

/** The one member joins, or joins again. */
export function joinSteps(model: Model, choice: Choice): Step[] {
  const group = chooseGroup(model, choice);
  if (choice.chance(0.2)) return badJoinSteps(model, choice, group);
  const version = model.version(11, choice, group.instance === null ? 0 : 5);
  const isNew = group.member === undefined;
  if (isNew) {
    group.member = model.reference("member");
    group.instance = version >= 5 && choice.chance(0.35) ? `instance-${choice.int(3)}` : null;
    group.protocolType = choice.mostly("consumer", ["connect", "custom"], 0.8);
  }
  group.isSynced = false;
  const wish: JoinWish = {
    version,
    group,
    member: group.member ?? "",
    instance: group.instance,
    protocolType: group.protocolType,
    protocols: choice.mostly(
      ["range"],
      [
        ["range", "cooperative-sticky"],
        ["cooperative-sticky", "range"],
      ],
      0.7,
    ),
    sessionTimeoutMs: choice.mostly(60_000, [300_000, 1_800_000], 0.8),
    metadata: `subscription ${choice.int(4)}`,
    isStranger: false,
  };
  // A dynamic member of version 4 and above is told its id first and joins with it; a static one joins at once.
  return isNew && version >= 4 && group.instance === null ? [joinStep(wish), joinStep(wish)] : [joinStep(wish)];
}

function badJoinSteps(model: Model, choice: Choice, group: GroupModel): Step[] {
  const base: JoinWish = {
    version: model.version(11, choice),
    group,
    member: model.reference("member"),
    instance: null,
    protocolType: group.protocolType,
    protocols: ["range"],
    sessionTimeoutMs: 60_000,
    metadata: "bad",
    isStranger: false,
  };
  const nameless: GroupModel = { ...group, name: "" };
  // In an empty group a wrong protocol would make a member; strangers and bounds never do.
  const wishes: JoinWish[] = [
    { ...base, sessionTimeoutMs: 5999 },
    { ...base, sessionTimeoutMs: 0 },
    { ...base, sessionTimeoutMs: 2_000_000_000 },
    { ...base, isStranger: true },
    { ...base, group: nameless },
    { ...base, version: model.version(11, choice, 5), isStranger: true, instance: "no-such-instance" },
    { ...base, version: model.version(11, choice, 5), isStranger: true, instance: group.instance ?? "instance-9" },
    { ...base, version: model.version(11, choice, 5), isStranger: true, instance: "bad instance" },
  ];
  if (group.member !== undefined) {
    wishes.push(
      { ...base, protocolType: "other" },
      { ...base, protocols: ["no-common-protocol"] },
      { ...base, protocols: [] },
      { ...base, protocolType: "" },
    );
  }
  return [joinStep(choice.pick(wishes))];
}

export function syncSteps(model: Model, choice: Choice): Step[] {
  const group = chooseGroup(model, choice);
  const speaker = chooseSpeaker(group, choice);
  const protocolType = choice.mostly(group.protocolType, [null, "other"], 0.85);
  const protocolName = choice.mostly("range", [null, "other"], 0.85);
  const assignment = choice.mostly(`assignment ${choice.int(5)}`, [""], 0.9);
  const version = model.version(14, choice, group.instance === null ? 0 : 3);
  return [
    newStep(syncGroup, syncGroup.syncGroupApi, version, (bindings) => {
      const said = speak(group, speaker, bindings);
      return syncGroup.newSyncGroupRequest({
        groupId: group.name,
        ...said,
        groupInstanceId: version >= 3 ? said.groupInstanceId : null,
        protocolType: version >= 5 ? protocolType : null,
        protocolName: version >= 5 ? protocolName : null,
        assignments: [syncGroup.newSyncGroupRequestAssignment({ memberId: said.memberId, assignment: Buffer.from(assignment) })],
      });
    }),
  ];
}

export function heartbeatSteps(model: Model, choice: Choice): Step[] {
  const group = chooseGroup(model, choice);
  const speaker = chooseSpeaker(group, choice);
  const version = model.version(12, choice);
  const groupId = choice.mostly(group.name, ["", `${model.prefix}-no-group`], 0.93);
  return [
    newStep(heartbeat, heartbeat.heartbeatApi, version, (bindings) => {
      const said = speak(group, speaker, bindings);
      return heartbeat.newHeartbeatRequest({ groupId, ...said, groupInstanceId: version >= 3 ? said.groupInstanceId : null });
    }),
  ];
}

export function leaveSteps(model: Model, choice: Choice): Step[] {
  const group = chooseGroup(model, choice);
  const version = model.version(13, choice);
  const speaker = chooseSpeaker(group, choice);
  const isByInstance = version >= 3 && speaker.instance !== null && choice.chance(0.5);
  const alsoStranger = version >= 3 && choice.chance(0.15);
  const groupId = choice.mostly(group.name, ["", `${model.prefix}-no-group`], 0.95);
  // A binding of a member that may have left stays: what it says next is what a member says that does not know yet.
  if (speaker.kind === "self" && groupId === group.name && choice.chance(0.8)) forget(group);
  const member = group.member;
  const snapshot = { ...group, member };
  return [
    newStep(leaveGroup, leaveGroup.leaveGroupApi, version, (bindings) => {
      const said = speak(snapshot, speaker, bindings);
      const identities = [{ memberId: isByInstance ? "" : said.memberId, groupInstanceId: said.groupInstanceId }];
      if (alsoStranger) identities.push({ memberId: strangerId, groupInstanceId: null });
      return leaveGroup.newLeaveGroupRequest({
        groupId,
        memberId: version >= 3 ? "" : said.memberId,
        members: version >= 3 ? identities.map((one) => leaveGroup.newMemberIdentity({ ...one, reason: "leaves" })) : [],
      });
    }),
  ];
}

function forget(group: GroupModel): void {
  group.isSynced = false;
}

/** The member goes for certain, so that the group is empty and may be joined or deleted. */
export function emptySteps(model: Model, choice: Choice): Step[] {
  const group = chooseGroup(model, choice);
  if (group.member === undefined) return [];
  const snapshot = { ...group };
  group.member = undefined;
  group.instance = null;
  return [
    newStep(leaveGroup, leaveGroup.leaveGroupApi, model.version(13, choice, 3), (bindings) => {
      const identity = { memberId: memberId(snapshot, bindings), groupInstanceId: snapshot.instance };
      return leaveGroup.newLeaveGroupRequest({ groupId: group.name, members: [leaveGroup.newMemberIdentity(identity)] });
    }),
  ];
}

/** A second member comes to the one that is there; both join the next generation, both are given their part, one leaves. */
export function pairSteps(model: Model, choice: Choice): Step[] {
  const name = model.next("pair");
  const first: GroupModel = { name, member: model.reference("member"), instance: null, protocolType: "consumer", isSynced: false };
  const second: GroupModel = { ...first, member: model.reference("member") };
  const wish = (group: GroupModel): JoinWish => ({
    version: model.version(11, choice, 4),
    group,
    member: group.member ?? "",
    instance: null,
    protocolType: "consumer",
    protocols: ["range"],
    sessionTimeoutMs: 60_000,
    metadata: "a pair",
    isStranger: false,
  });
  const plain: Speaker = { kind: "self", generationShift: 0, instance: null };
  const beat = (group: GroupModel) =>
    newStep(heartbeat, heartbeat.heartbeatApi, 4, (bindings) =>
      heartbeat.newHeartbeatRequest({ groupId: name, ...speak(group, plain, bindings) }),
    );
  const sync = (group: GroupModel, isLeader: boolean) =>
    newStep(syncGroup, syncGroup.syncGroupApi, 5, (bindings) =>
      syncGroup.newSyncGroupRequest({
        groupId: name,
        ...speak(group, plain, bindings),
        protocolType: "consumer",
        protocolName: "range",
        assignments: !isLeader
          ? []
          : [first, second].map((one, index) =>
              syncGroup.newSyncGroupRequestAssignment({ memberId: memberId(one, bindings), assignment: Buffer.from(`part ${index}`) }),
            ),
      }),
    );
  const firstWish = wish(first);
  const secondWish = wish(second);
  const held = model.reference("hold");
  return [
    joinStep(firstWish),
    joinStep(firstWish),
    sync(first, true),
    joinStep(secondWish),
    joinStep(secondWish, { hold: held, settleState: "PreparingRebalance" }),
    beat(first),
    describeStep(5, [name]),
    joinStep(firstWish),
    { ...joinStep(secondWish), collect: held },
    sync(first, true),
    sync(second, false),
    beat(second),
    describeStep(5, [name]),
    newStep(leaveGroup, leaveGroup.leaveGroupApi, 5, (bindings) =>
      leaveGroup.newLeaveGroupRequest({ groupId: name, members: [leaveGroup.newMemberIdentity({ memberId: memberId(second, bindings) })] }),
    ),
    beat(first),
    describeStep(6, [name]),
  ];
}

export function describeStep(version: number, groups: readonly string[], includeAuthorizedOperations = false): Step {
  const request = () => describeGroups.newDescribeGroupsRequest({ groups: [...groups], includeAuthorizedOperations });
  return newStep(describeGroups, describeGroups.describeGroupsApi, version, request);
}

export function describeGroupsSteps(model: Model, choice: Choice): Step[] {
  const names = [chooseGroup(model, choice).name];
  if (choice.chance(0.3)) names.push(choice.mostly(chooseGroup(model, choice).name, ["", `${model.prefix}-no-group`], 0.4));
  return [describeStep(model.version(15, choice), names, choice.chance(0.3))];
}

export function listGroupsSteps(model: Model, choice: Choice): Step[] {
  const statesFilter = choice.mostly<string[]>(
    [],
    [
      ["Stable"],
      ["Empty", "Dead"],
      ["nonsense"],
      ["stable"],
      ["CompletingRebalance", "PreparingRebalance"],
      ["Assigning"],
      ["RECONCILING", "assigning"],
      ["Reconciling", "Stable"],
    ],
    0.5,
  );
  const typesFilter = choice.mostly<string[]>(
    [],
    [["classic"], ["Classic"], ["consumer"], ["CONSUMER", "classic"], ["share"], ["nonsense"]],
    0.7,
  );
  const version = model.version(16, choice);
  const request = () =>
    listGroups.newListGroupsRequest({ statesFilter: version >= 4 ? statesFilter : [], typesFilter: version >= 5 ? typesFilter : [] });
  return [newStep(listGroups, listGroups.listGroupsApi, version, request)];
}

export function deleteGroupsSteps(model: Model, choice: Choice): Step[] {
  return [deleteGroupsStep(model, choice, chooseGroup(model, choice).name)];
}

export function deleteGroupsStep(model: Model, choice: Choice, name: string): Step {
  const names = [choice.mostly(name, ["", `${model.prefix}-no-group`], 0.85)];
  if (choice.chance(0.15)) names.push(choice.chance(0.5) ? (names[0] ?? "") : `${model.prefix}-no-group`);
  const request = () => deleteGroups.newDeleteGroupsRequest({ groupsNames: names });
  return newStep(deleteGroups, deleteGroups.deleteGroupsApi, model.version(42, choice), request);
}

export function findCoordinatorSteps(model: Model, choice: Choice): Step[] {
  const version = model.version(10, choice);
  const keyType = version === 0 ? 0 : choice.mostly(choice.int(2), [2, 3, -1], 0.92);
  const keys = [choice.mostly(chooseGroup(model, choice).name, [""], 0.93), `${model.prefix}-other`].slice(0, choice.between(1, 2));
  const request = () =>
    findCoordinator.newFindCoordinatorRequest({
      keyType,
      key: version < 4 ? (keys[0] ?? "") : "",
      coordinatorKeys: version < 4 ? [] : keys,
    });
  return [newStep(findCoordinator, findCoordinator.findCoordinatorApi, version, request)];
}
