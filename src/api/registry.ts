/** The table of what is served: one handler per API key. What is not in it is not advertised, and closes the connection. */
import { ProduceHandler } from "./00-produce.ts";
import { FetchHandler } from "./01-fetch.ts";
import { ListOffsetsHandler } from "./02-list-offsets.ts";
import { MetadataHandler } from "./03-metadata.ts";
import { OffsetCommitHandler } from "./08-offset-commit.ts";
import { OffsetFetchHandler } from "./09-offset-fetch.ts";
import { FindCoordinatorHandler } from "./10-find-coordinator.ts";
import { JoinGroupHandler } from "./11-join-group.ts";
import { HeartbeatHandler } from "./12-heartbeat.ts";
import { LeaveGroupHandler } from "./13-leave-group.ts";
import { SyncGroupHandler } from "./14-sync-group.ts";
import { DescribeGroupsHandler } from "./15-describe-groups.ts";
import { ListGroupsHandler } from "./16-list-groups.ts";
import { ApiVersionsHandler } from "./18-api-versions.ts";
import { CreateTopicsHandler } from "./19-create-topics.ts";
import { DeleteTopicsHandler } from "./20-delete-topics.ts";
import { DeleteRecordsHandler } from "./21-delete-records.ts";
import { InitProducerIdHandler } from "./22-init-producer-id.ts";
import { OffsetForLeaderEpochHandler } from "./23-offset-for-leader-epoch.ts";
import { AddPartitionsToTxnHandler } from "./24-add-partitions-to-txn.ts";
import { AddOffsetsToTxnHandler } from "./25-add-offsets-to-txn.ts";
import { EndTxnHandler } from "./26-end-txn.ts";
import { WriteTxnMarkersHandler } from "./27-write-txn-markers.ts";
import { TxnOffsetCommitHandler } from "./28-txn-offset-commit.ts";
import { DescribeConfigsHandler } from "./32-describe-configs.ts";
import { AlterConfigsHandler } from "./33-alter-configs.ts";
import { CreatePartitionsHandler } from "./37-create-partitions.ts";
import { DeleteGroupsHandler } from "./42-delete-groups.ts";
import { IncrementalAlterConfigsHandler } from "./44-incremental-alter-configs.ts";
import { OffsetDeleteHandler } from "./47-offset-delete.ts";
import { UpdateFeaturesHandler } from "./57-update-features.ts";
import { DescribeClusterHandler } from "./60-describe-cluster.ts";
import { DescribeProducersHandler } from "./61-describe-producers.ts";
import { DescribeTransactionsHandler } from "./65-describe-transactions.ts";
import { ListTransactionsHandler } from "./66-list-transactions.ts";
import { ConsumerGroupHeartbeatHandler } from "./68-consumer-group-heartbeat.ts";
import { ConsumerGroupDescribeHandler } from "./69-consumer-group-describe.ts";
import { ListConfigResourcesHandler } from "./74-list-config-resources.ts";
import { DescribeTopicPartitionsHandler } from "./75-describe-topic-partitions.ts";
import type { ApiHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

export function createApiHandlers(services: ApiServices): readonly ApiHandler[] {
  const handlers: ApiHandler[] = [
    new ProduceHandler(services),
    new FetchHandler(services),
    new ListOffsetsHandler(services),
    new MetadataHandler(services),
    new OffsetCommitHandler(services),
    new OffsetFetchHandler(services),
    new FindCoordinatorHandler(services),
    new JoinGroupHandler(services),
    new HeartbeatHandler(services),
    new LeaveGroupHandler(services),
    new SyncGroupHandler(services),
    new DescribeGroupsHandler(services),
    new ListGroupsHandler(services),
    new CreateTopicsHandler(services),
    new DeleteTopicsHandler(services),
    new DeleteRecordsHandler(services),
    new InitProducerIdHandler(services),
    new OffsetForLeaderEpochHandler(services),
    new AddPartitionsToTxnHandler(services),
    new AddOffsetsToTxnHandler(services),
    new EndTxnHandler(services),
    new WriteTxnMarkersHandler(services),
    new TxnOffsetCommitHandler(services),
    new DescribeConfigsHandler(services),
    new AlterConfigsHandler(services),
    new CreatePartitionsHandler(services),
    new DeleteGroupsHandler(services),
    new IncrementalAlterConfigsHandler(services),
    new OffsetDeleteHandler(services),
    new UpdateFeaturesHandler(services),
    new DescribeClusterHandler(services),
    new DescribeProducersHandler(services),
    new DescribeTransactionsHandler(services),
    new ListTransactionsHandler(services),
    new ConsumerGroupHeartbeatHandler(services),
    new ConsumerGroupDescribeHandler(services),
    new ListConfigResourcesHandler(services),
    new DescribeTopicPartitionsHandler(services),
  ];
  handlers.push(new ApiVersionsHandler(services, handlers));
  return handlers;
}
