/** What has settings: ConfigResource.Type, the numbers that requests about settings and the metadata log write. */
export const ConfigResourceType = { TOPIC: 2, BROKER: 4, BROKER_LOGGER: 8, CLIENT_METRICS: 16, GROUP: 32 } as const;
