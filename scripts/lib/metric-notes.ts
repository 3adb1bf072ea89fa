/** What docs/metrics.md says beside what the code declares: Apache Kafka's MBean for the same thing or the nearest, and what bounds each label. */

/** Ours -> Kafka's `domain:properties` and, after a space, the attribute where it is not the usual Count or Value. */
export const KAFKA_BEANS: Readonly<Record<string, string>> = {
  weir_accept_paused: "kafka.network:type=Acceptor,name=AcceptorBlockedPercent",
  weir_accept_pauses_total: "kafka.network:type=Acceptor,name=AcceptorBlockedPercent",
  weir_connections: "kafka.server:type=socket-server-metrics connection-count",
  weir_connections_accepted_total: "kafka.server:type=socket-server-metrics connection-creation-total",
  weir_connections_closed_by_broker_total: "kafka.server:type=socket-server-metrics connection-close-total",
  weir_controller_reigning: "kafka.controller:type=KafkaController,name=ActiveControllerCount",
  weir_fetch_sessions: "kafka.server:type=FetchSessionCache,name=NumIncrementalFetchSessions",
  weir_fetched_bytes_total: "kafka.server:type=BrokerTopicMetrics,name=BytesOutPerSec",
  weir_group_offset_commits_total: "kafka.server:type=group-coordinator-metrics offset-commit-count",
  weir_group_offsets: "kafka.coordinator.group:type=GroupMetadataManager,name=NumOffsets",
  weir_group_offsets_expired_total: "kafka.server:type=group-coordinator-metrics offset-expiration-count",
  weir_group_partitions_loading: "kafka.server:type=group-coordinator-metrics,state=loading num-partitions",
  weir_group_rebalances_completed_total: "kafka.server:type=group-coordinator-metrics group-completed-rebalance-count",
  weir_groups: "kafka.coordinator.group:type=GroupMetadataManager,name=NumGroups",
  weir_held_partitions: "kafka.server:type=ReplicaManager,name=OfflineReplicaCount",
  weir_metadata_slot: "kafka.server:type=broker-metadata-metrics last-applied-record-offset",
  weir_network_received_bytes_total: "kafka.server:type=socket-server-metrics incoming-byte-total",
  weir_network_sent_bytes_total: "kafka.server:type=socket-server-metrics outgoing-byte-total",
  weir_produced_bytes_total: "kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec",
  weir_request_memory_used_bytes: "kafka.network:type=SocketServer,name=MemoryPoolUsed",
  weir_request_seconds: "kafka.network:type=RequestMetrics,name=TotalTimeMs",
  weir_requests_total: "kafka.network:type=RequestMetrics,name=RequestsPerSec",
  weir_store_received_bytes_total: "kafka.server:type=BrokerTopicMetrics,name=RemoteFetchBytesPerSec",
  weir_store_sent_bytes_total: "kafka.server:type=BrokerTopicMetrics,name=RemoteCopyBytesPerSec",
  weir_upload_waiting_bytes: "kafka.server:type=BrokerTopicMetrics,name=RemoteCopyLagBytes",
  weir_waiting_fetches: "kafka.server:type=DelayedOperationPurgatory,name=PurgatorySize,delayedOperation=Fetch",
  weir_wal_write_seconds: "kafka.log:type=LogFlushStats,name=LogFlushRateAndTimeMs",
  process_max_fds: "java.lang:type=OperatingSystem MaxFileDescriptorCount",
  process_open_fds: "java.lang:type=OperatingSystem OpenFileDescriptorCount",
  process_start_time_seconds: "java.lang:type=Runtime StartTime",
};

/** Every label that a metric may have, and the fixed set that its values come from. */
export const LABELS: Readonly<Record<string, string>> = {
  api: "The names of the served Kafka APIs: Produce, Fetch, Metadata, ...",
  code: "The codes of the object store's troubles: store-unavailable, store-timeout, store-access-denied, ... and other.",
  kafka: "One: the Kafka release whose protocol is followed.",
  operation: "createOnce, put, get, getTail, head, list, delete.",
  outcome: "won, lost.",
  reason: "frame-size, unserved, malformed, slow, idle, load, handler.",
  state: "Empty, PreparingRebalance, CompletingRebalance, Stable.",
  version: "One: this version of Weir.",
};
