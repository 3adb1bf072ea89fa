/**
 * UpdateFeatures (key 57), versions 0-2 (KIP-584, KIP-778): raises and lowers the finalised feature levels of the cluster, all that are named or none. Answered when the
 * metadata log holds it; what a level stands for acts with the next request, on groups and transactions that are there too. Checks and words are those of
 * FeatureControlManager of 4.4, which never answers FEATURE_UPDATE_FAILED, and takes a downgrade of v0 (`allowDowngrade`) for an upgrade.
 *
 * Where several features of one request are wrong, the first one named is told (Kafka: the first of a hash table). Not done: authorisation.
 */
import { Trouble } from "../base/trouble.ts";
import type { FeatureUpdate } from "../metadata/cluster-metadata.ts";
import { isMetadataLost, METADATA_VERSION, SUPPORTED_FEATURES } from "../metadata/features.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import { UpgradeType } from "../protocol/feature-update.ts";
import {
  type FeatureUpdateKey,
  newUpdatableFeatureResult,
  newUpdateFeaturesResponse,
  type UpdateFeaturesRequest,
  type UpdateFeaturesResponse,
  updateFeaturesApi,
} from "../protocol/messages/update-features.ts";
import { clampDeadline } from "./answers.ts";
import type { SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import { type ApiError, TIMED_OUT } from "./topic-creation.ts";

/** How often a request is planned anew because somebody else was quicker. */
const MAX_ROUNDS = 10;

export class UpdateFeaturesHandler implements SerialHandler<UpdateFeaturesRequest, UpdateFeaturesResponse> {
  readonly kind = "serial";
  readonly api = updateFeaturesApi;
  readonly minVersion = 0;
  readonly maxVersion = 2;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: UpdateFeaturesRequest): Promise<UpdateFeaturesResponse> {
    const error = await this.#update(request);
    if (error !== undefined) return newUpdateFeaturesResponse({ errorCode: error.code, errorMessage: error.message });
    const results = request.featureUpdates.map(({ feature }) => newUpdatableFeatureResult({ feature, errorMessage: "NONE" }));
    return newUpdateFeaturesResponse({ errorMessage: null, results });
  }

  async #update({ featureUpdates, validateOnly, timeoutMs }: UpdateFeaturesRequest): Promise<ApiError | undefined> {
    const { metadata, logger } = this.#services;
    // A feature that is named twice: the last one counts.
    const wanted = [...new Map(featureUpdates.map((update) => [update.feature, update])).values()];
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const updates = this.#plan(wanted);
      if ("code" in updates) return updates;
      const changed = updates.filter(({ expected, level }) => level !== expected);
      if (validateOnly || changed.length === 0) return undefined;
      try {
        if ((await metadata.updateFeatures(updates, clampDeadline(timeoutMs))) === "conflict") continue;
      } catch (error) {
        if (!(error instanceof Trouble)) throw error;
        logger.warn("feature.update-failed", error.message, { code: error.code });
        return TIMED_OUT;
      }
      for (const { name, expected, level } of changed) {
        logger.info("feature.updated", "the finalised level of a feature was changed", { feature: name, from: expected, level });
      }
      return undefined;
    }
    return { code: ErrorCodes.REQUEST_TIMED_OUT, message: "Others change the same features all the time." };
  }

  #plan(wanted: readonly FeatureUpdateKey[]): readonly FeatureUpdate[] | ApiError {
    const levels = this.#services.metadata.image.getFinalizedFeatures();
    const updates: FeatureUpdate[] = [];
    for (const update of wanted) {
      const { feature: name, maxVersionLevel: level } = update;
      const expected = levels.get(name) ?? 0;
      const reason = findUpdateError(update, expected, this.#services.config.nodeId);
      if (reason !== undefined) {
        const message = `The update failed for all features since the following feature had an error: ${reason}`;
        return { code: ErrorCodes.INVALID_UPDATE_VERSION, message };
      }
      updates.push({ name, expected, level });
    }
    return updates;
  }
}

function findUpdateError({ feature, maxVersionLevel: level, upgradeType }: FeatureUpdateKey, current: number, nodeId: number) {
  const invalid = (reason: string): string => `Invalid update version ${level} for feature ${feature}. ${reason}`;
  if (upgradeType < UpgradeType.UPGRADE || upgradeType > UpgradeType.UNSAFE_DOWNGRADE)
    return invalid("The controller does not support the given upgrade type.");
  if (level < 0) return invalid("A feature version cannot be less than 0.");
  const supported = SUPPORTED_FEATURES.find(({ name }) => name === feature);
  if (supported === undefined)
    return invalid(level === 0 ? `Feature ${feature} not found.` : `Local controller ${nodeId} does not support this feature.`);
  const { min, max } = supported;
  if (level < min || level > max) return invalid(`Local controller ${nodeId} only supports versions ${min}-${max}`);
  const isUpgrade = upgradeType === UpgradeType.UPGRADE;
  if (level < current && isUpgrade) {
    return invalid("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.");
  }
  if (level > current && !isUpgrade) return invalid("Can't downgrade to a newer version.");
  if (feature !== METADATA_VERSION || level >= current || !isMetadataLost(current, level)) return undefined;
  const refusal =
    upgradeType === UpgradeType.UNSAFE_DOWNGRADE
      ? "Unsafe metadata downgrade is not supported in this version."
      : "Refusing to perform the requested downgrade because it might delete metadata information.";
  return `Unsupported metadata.version downgrade from ${current} to ${level}. ${refusal}`;
}
