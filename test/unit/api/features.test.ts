/** UpdateFeatures: what happens when others are quicker, or the controller is away. Answers beside Kafka's: test/conformance/features.test.ts. */
import { expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import type { FeatureOutcome, FeatureUpdate } from "../../../src/metadata/cluster-metadata.ts";
import { isMetadataLost } from "../../../src/metadata/features.ts";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import {
  newFeatureUpdateKey,
  newUpdateFeaturesRequest,
  type UpdateFeaturesResponse,
} from "../../../src/protocol/messages/update-features.ts";
import { ApiHarness } from "../support/api-harness.ts";
import { FakeMetadata } from "../support/fake-metadata.ts";
import { FakeStorage } from "../support/fake-storage.ts";

const KEY = 57;

/** Somebody else lowers group.version just before the first change. */
class RacedMetadata extends FakeMetadata {
  rounds = 0;

  override updateFeatures(updates: readonly FeatureUpdate[]): Promise<FeatureOutcome> {
    if (this.rounds++ === 0) this.features.set("group.version", 0);
    return super.updateFeatures(updates);
  }
}

const request = (feature: string, maxVersionLevel: number, upgradeType: number) =>
  newUpdateFeaturesRequest({ featureUpdates: [newFeatureUpdateKey({ feature, maxVersionLevel, upgradeType })] });

test("a change that meets another one is judged anew", async () => {
  const metadata = new RacedMetadata();
  metadata.features.set("transaction.version", 1);
  const api = new ApiHarness({}, new FakeStorage(), metadata);
  const updates = newUpdateFeaturesRequest({
    featureUpdates: [
      newFeatureUpdateKey({ feature: "transaction.version", maxVersionLevel: 2 }),
      newFeatureUpdateKey({ feature: "group.version", maxVersionLevel: 1 }),
    ],
  });
  expect(await api.callOverWire<UpdateFeaturesResponse>(KEY, updates, 2)).toMatchObject({ errorCode: 0, errorMessage: null });
  expect(metadata.rounds).toBe(2);
  expect(Object.fromEntries(metadata.features)).toMatchObject({ "transaction.version": 2, "group.version": 1 });
});

test("what is in force already asks nobody; without the controller nothing is changed", async () => {
  const api = new ApiHarness();
  api.metadata.failure = new Trouble({ code: "metadata-timeout", message: "no controller", retryable: true });
  expect(await api.callOverWire<UpdateFeaturesResponse>(KEY, request("group.version", 1, 1), 2)).toMatchObject({ errorCode: 0 });
  const answer = await api.callOverWire<UpdateFeaturesResponse>(KEY, request("group.version", 0, 2), 2);
  expect(answer.errorCode).toBe(ErrorCodes.REQUEST_TIMED_OUT);
  expect(api.metadata.features.get("group.version")).toBe(1);
});

test("metadata.version goes back only where no records are lost", () => {
  expect(isMetadataLost(33, 32)).toBe(true);
  expect(isMetadataLost(31, 30)).toBe(false);
  expect(isMetadataLost(29, 23)).toBe(false);
  expect(isMetadataLost(29, 22)).toBe(true);
});
