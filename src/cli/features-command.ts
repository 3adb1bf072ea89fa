/** `weir features`: what the cluster's feature levels are, and raising or lowering them while everything runs (UpdateFeatures). */
import { Trouble } from "../base/trouble.ts";
import type { ClientConnection } from "../client/client-connection.ts";
import { expectNone } from "../client/client-troubles.ts";
import { UpgradeType } from "../protocol/feature-update.ts";
import type { ApiVersionsResponse } from "../protocol/messages/api-versions.ts";
import { newFeatureUpdateKey, newUpdateFeaturesRequest, updateFeaturesApi } from "../protocol/messages/update-features.ts";
import type { BrokerSession } from "./broker-session.ts";
import { renderJson, renderTable } from "./output.ts";

/** By what a user asks for. */
const UPGRADE_TYPES = {
  upgrade: UpgradeType.UPGRADE,
  downgrade: UpgradeType.SAFE_DOWNGRADE,
  "unsafe downgrade": UpgradeType.UNSAFE_DOWNGRADE,
} as const;
/** The first version with the kind of a downgrade, and with asking without changing. */
const FIRST_WITH_UPGRADE_TYPE = 1;

export interface FeatureLevel {
  readonly name: string;
  /** Finalised; 0: not in force. */
  readonly level: number;
  readonly minVersion: number;
  readonly maxVersion: number;
}

export interface LevelChange {
  readonly kind: keyof typeof UPGRADE_TYPES;
  readonly isDryRun: boolean;
}

/** What the broker supports, with the cluster's levels; in the broker's order. */
export function readFeatureLevels({ supportedFeatures, finalizedFeatures }: ApiVersionsResponse): readonly FeatureLevel[] {
  const levels = new Map(finalizedFeatures.map(({ name, maxVersionLevel }) => [name, maxVersionLevel]));
  return supportedFeatures.map(({ name, minVersion, maxVersion }) => ({ name, level: levels.get(name) ?? 0, minVersion, maxVersion }));
}

export function renderFeatureLevels(features: readonly FeatureLevel[]): string {
  const rows = features.map((each) => [each.name, each.level, each.minVersion, each.maxVersion]);
  return renderTable(["feature", "level", "min", "max"], rows);
}

/** In order of name. */
function listFeatures({ versions }: ClientConnection): readonly FeatureLevel[] {
  return [...readFeatureLevels(versions)].sort((left, right) => (left.name < right.name ? -1 : 1));
}

export async function describeFeatures({ client, output, print }: BrokerSession): Promise<number> {
  const features = await client.retrying(async () => listFeatures(await client.any()));
  await print(output === "json" ? renderJson({ features }) : renderFeatureLevels(features));
  return 0;
}

/** "latest": the highest level that the broker supports, of every feature. All change or none. */
export async function changeFeatures(session: BrokerSession, named: readonly string[] | "latest", change: LevelChange): Promise<number> {
  const { client, output, print } = session;
  const { kind, isDryRun } = change;
  const wanted = named === "latest" ? named : named.map(parseLevel);
  const changed = await client.retrying(async () => {
    const connection = await client.any();
    const known = listFeatures(connection);
    const levels = wanted === "latest" ? known.map(({ name, maxVersion }) => ({ name, level: maxVersion })) : wanted;
    const featureUpdates = levels.map(({ name, level }) =>
      newFeatureUpdateKey({ feature: name, maxVersionLevel: level, upgradeType: UPGRADE_TYPES[kind] }),
    );
    const request = newUpdateFeaturesRequest({ featureUpdates, validateOnly: isDryRun });
    const answer = await connection.request(updateFeaturesApi, request, { min: FIRST_WITH_UPGRADE_TYPE });
    expectNone(answer.errorCode, "no feature level was changed", answer.errorMessage);
    return levels.map(({ name, level }) => ({ name, from: known.find((each) => each.name === name)?.level ?? 0, level }));
  });
  const lines = changed.map(({ name, from, level }) => {
    if (from === level) return `${name} is at ${level} already\n`;
    return isDryRun ? `${name} can go from ${from} to ${level}\n` : `${name} went from ${from} to ${level}\n`;
  });
  await print(output === "json" ? renderJson({ features: changed, dryRun: isDryRun }) : lines.join(""));
  return 0;
}

/** "group.version=1". Throws a Trouble with exit code 2. */
export function parseLevel(text: string): { readonly name: string; readonly level: number } {
  const [, name = "", level = ""] = /^([^=\s]+)=(\d{1,5})$/.exec(text) ?? [];
  if (name !== "" && Number(level) < 2 ** 15) return { name, level: Number(level) };
  throw new Trouble({
    code: "usage",
    message: `${text} is not right`,
    remedy: "write FEATURE=LEVEL, such as group.version=1; `weir features describe` names them",
    retryable: false,
    exitCode: 2,
  });
}
