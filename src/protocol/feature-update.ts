/** Which way a feature's level may go: FeatureUpdate.UpgradeType, the numbers that UpdateFeatures writes (KIP-584, KIP-778). */
export const UpgradeType = { UPGRADE: 1, SAFE_DOWNGRADE: 2, UNSAFE_DOWNGRADE: 3 } as const;
