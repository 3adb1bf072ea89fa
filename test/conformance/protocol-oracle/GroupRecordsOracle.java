/*
 * Apache Kafka's group coordinator on records of __consumer_offsets, without a broker around it. Run as a single file:
 *   java -cp DIR/* GroupRecordsOracle.java COMMANDS ANSWERS
 * Commands: [type: byte][...], numbers big-endian. Answers: [ok: byte][length: int32][bytes].
 *   'T' [json: bytes]      the topics there are: [{"name", "id", "partitions"}...]; answers nothing
 *   'L' [log: bytes]       replays the batches of one partition; the answer is a JSON document: each record as Kafka's classes read it and whether they write the same
 *                          bytes for it ("same"), and what the coordinator then says of its groups ("groups", "described", "offsets")
 *   'H' [seed: int64]      members at random speak to the coordinator; the answer is the same document, with the bytes of each record as Kafka wrote it ("key", "value", hex)
 */
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.message.ConsumerGroupDescribeResponseData;
import org.apache.kafka.common.message.ConsumerGroupDescribeResponseDataJsonConverter;
import org.apache.kafka.common.message.ConsumerGroupHeartbeatRequestData;
import org.apache.kafka.common.message.ConsumerGroupHeartbeatResponseData;
import org.apache.kafka.common.message.ListGroupsResponseData;
import org.apache.kafka.common.message.ListGroupsResponseDataJsonConverter;
import org.apache.kafka.common.message.OffsetFetchRequestData;
import org.apache.kafka.common.message.OffsetFetchResponseData;
import org.apache.kafka.common.message.OffsetFetchResponseDataJsonConverter;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.requests.TransactionResult;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.security.auth.SecurityProtocol;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.internals.LogContext;
import org.apache.kafka.coordinator.common.runtime.CoordinatorExecutor;
import org.apache.kafka.coordinator.common.runtime.CoordinatorMetadataDelta;
import org.apache.kafka.coordinator.common.runtime.CoordinatorMetadataImage;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecord;
import org.apache.kafka.coordinator.common.runtime.CoordinatorTimer;
import org.apache.kafka.coordinator.group.GroupConfigManager;
import org.apache.kafka.coordinator.group.GroupCoordinatorConfig;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordSerde;
import org.apache.kafka.coordinator.group.GroupCoordinatorShard;
import org.apache.kafka.coordinator.group.generated.CoordinatorRecordJsonConverters;
import org.apache.kafka.coordinator.group.metrics.GroupCoordinatorMetrics;
import org.apache.kafka.coordinator.group.modern.share.ShareGroupConfig;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;
import org.apache.kafka.timeline.SnapshotRegistry;

public class GroupRecordsOracle {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final GroupCoordinatorRecordSerde SERDE = new GroupCoordinatorRecordSerde();
    private static final long LATEST = SnapshotRegistry.LATEST_EPOCH;

    public static void main(String[] args) throws Exception {
        Image image = new Image();
        try (DataInputStream in = new DataInputStream(Files.newInputStream(Path.of(args[0])));
             DataOutputStream out = new DataOutputStream(Files.newOutputStream(Path.of(args[1])))) {
            while (in.available() > 0) {
                byte command = in.readByte();
                byte[] answer;
                boolean ok = true;
                try {
                    answer = switch (command) {
                        case 'T' -> image.read(in.readNBytes(in.readInt()));
                        case 'L' -> replayLog(image, in.readNBytes(in.readInt()));
                        case 'H' -> new Life(image, in.readLong()).run();
                        default -> throw new IllegalStateException("command " + command);
                    };
                } catch (Exception error) {
                    ok = false;
                    StringWriter trace = new StringWriter();
                    error.printStackTrace(new PrintWriter(trace));
                    answer = trace.toString().getBytes(StandardCharsets.UTF_8);
                }
                out.writeByte(ok ? 1 : 0);
                out.writeInt(answer.length);
                out.write(answer);
            }
        }
    }

    private static byte[] replayLog(Image image, byte[] log) throws Exception {
        Coordinator coordinator = new Coordinator(image);
        for (MutableRecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(log)).batches()) {
            batch.ensureValid();
            for (Record record : batch) {
                if (batch.isControlBatch()) {
                    TransactionResult result = ControlRecordType.parse(record.key()) == ControlRecordType.COMMIT ? TransactionResult.COMMIT : TransactionResult.ABORT;
                    coordinator.shard.replayEndTransactionMarker(batch.producerId(), batch.producerEpoch(), result);
                } else {
                    coordinator.replay(record.offset(), batch.producerId(), batch.producerEpoch(), bytesOf(record.key()), bytesOf(record.value()));
                }
            }
        }
        coordinator.shard.onLoaded(image);
        return coordinator.describe();
    }

    private static byte[] bytesOf(ByteBuffer buffer) {
        if (buffer == null) return null;
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return bytes;
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? null : HexFormat.of().formatHex(bytes);
    }

    /** Kafka's shard, and what it has replayed. */
    private static class Coordinator {
        final GroupCoordinatorShard shard;
        final ArrayNode records = JSON.createArrayNode();
        final ManualTime time = new ManualTime();
        /** What the shard left to be done beside it, in order. */
        final ArrayDeque<Runnable> tasks = new ArrayDeque<>();
        final Map<String, CoordinatorTimer.TimeoutOperation<CoordinatorRecord>> timers = new LinkedHashMap<>();
        long nextOffset = 0;

        Coordinator(Image image) {
            GroupCoordinatorConfig config = GroupCoordinatorConfig.fromProps(Map.of("group.consumer.assignment.interval.ms", "0"));
            GroupCoordinatorShard.Builder builder = new GroupCoordinatorShard.Builder(config, new GroupConfigManager(config, ShareGroupConfig.fromProps(Map.of())));
            builder.withAuthorizerPlugin(Optional.empty());
            builder.withLogContext(new LogContext()).withTime(time).withTimer(new HeldTimer(this)).withExecutor(new HeldExecutor(this))
                .withCoordinatorMetrics(new GroupCoordinatorMetrics()).withTopicPartition(new TopicPartition("__consumer_offsets", 0))
                .withSnapshotRegistry(new SnapshotRegistry(new LogContext()));
            shard = builder.build();
        }

        /** As Kafka's loader does it. */
        void replay(long offset, long producerId, short producerEpoch, byte[] key, byte[] value) throws Exception {
            CoordinatorRecord record = SERDE.deserialize(ByteBuffer.wrap(key), value == null ? null : ByteBuffer.wrap(value));
            ObjectNode node = records.addObject();
            node.put("offset", offset).put("key", hex(key)).put("value", hex(value));
            node.set("keyJson", CoordinatorRecordJsonConverters.writeRecordKeyAsJson(record.key()));
            if (record.value() != null) {
                node.put("version", record.value().version());
                node.set("valueJson", CoordinatorRecordJsonConverters.writeRecordValueAsJson(record.value().message(), record.value().version()));
            }
            node.put("same", Arrays.equals(SERDE.serializeKey(record), key) && Arrays.equals(SERDE.serializeValue(record), value));
            shard.replay(offset, producerId, producerEpoch, record);
        }

        /** What the shard has decided goes to its log. */
        void write(List<CoordinatorRecord> written) throws Exception {
            for (CoordinatorRecord record : written) replay(nextOffset++, -1, (short) -1, SERDE.serializeKey(record), SERDE.serializeValue(record));
        }

        byte[] describe() throws Exception {
            ObjectNode answer = JSON.createObjectNode();
            answer.set("records", records);
            List<ListGroupsResponseData.ListedGroup> listed = shard.listGroups(List.of(), List.of(), LATEST);
            answer.set("groups", ListGroupsResponseDataJsonConverter.write(new ListGroupsResponseData().setGroups(listed), (short) 5).get("groups"));
            List<String> consumerGroups = listed.stream().filter(group -> group.groupType().equals("consumer")).map(ListGroupsResponseData.ListedGroup::groupId).toList();
            ConsumerGroupDescribeResponseData described = new ConsumerGroupDescribeResponseData().setGroups(shard.consumerGroupDescribe(consumerGroups, LATEST));
            answer.set("described", ConsumerGroupDescribeResponseDataJsonConverter.write(described, (short) 1).get("groups"));
            List<OffsetFetchResponseData.OffsetFetchResponseGroup> offsets = new ArrayList<>();
            for (ListGroupsResponseData.ListedGroup group : listed) {
                offsets.add(shard.fetchOffsets(new OffsetFetchRequestData.OffsetFetchRequestGroup().setGroupId(group.groupId()).setMemberEpoch(-1).setTopics(null), LATEST));
            }
            answer.set("offsets", OffsetFetchResponseDataJsonConverter.write(new OffsetFetchResponseData().setGroups(offsets), (short) 9).get("groups"));
            return JSON.writeValueAsBytes(answer);
        }
    }

    /** Members of one group at random: they join, change what they read, leave, come back and are lost. */
    private static class Life {
        final Coordinator coordinator;
        final Image image;
        final Random random;
        final Map<String, Member> members = new TreeMap<>();

        Life(Image image, long seed) {
            this.image = image;
            random = new Random(seed);
            coordinator = new Coordinator(image);
            coordinator.shard.onLoaded(image);
        }

        byte[] run() throws Exception {
            for (int step = 0; step < 150; step++) {
                coordinator.time.nowMs += random.nextInt(3000);
                String name = "member-" + random.nextInt(5);
                Member member = members.computeIfAbsent(name, each -> new Member(each, random.nextInt(3) == 0 ? "static-" + each : null));
                if (member.epoch <= 0) member.join();
                else {
                    switch (random.nextInt(12)) {
                        case 0 -> member.leave(-1);
                        case 1 -> member.leave(member.instanceId == null ? -1 : -2);
                        case 2 -> member.subscribe();
                        default -> member.beat();
                    }
                }
                while (!coordinator.tasks.isEmpty() && random.nextInt(4) > 0) coordinator.tasks.poll().run();
            }
            return coordinator.describe();
        }

        private class Member {
            final String memberId;
            final String instanceId;
            int epoch = 0;
            List<ConsumerGroupHeartbeatRequestData.TopicPartitions> owned = List.of();
            List<String> topics = List.of();
            String pattern = "";

            Member(String memberId, String instanceId) {
                this.memberId = memberId;
                this.instanceId = instanceId;
            }

            void choose() {
                topics = random.nextInt(4) == 0 ? List.of() : image.names().stream().filter(name -> random.nextBoolean()).toList();
                pattern = topics.isEmpty() || random.nextInt(4) == 0 ? List.of("t.*", ".*[13]", "no-.*").get(random.nextInt(3)) : "";
            }

            ConsumerGroupHeartbeatRequestData full() {
                return request().setRebalanceTimeoutMs(30_000 + random.nextInt(1000)).setSubscribedTopicNames(topics).setSubscribedTopicRegex(pattern)
                    .setRackId(random.nextInt(3) == 0 ? "rack-é" : null).setServerAssignor(random.nextInt(4) == 0 ? "range" : "uniform").setTopicPartitions(owned);
            }

            ConsumerGroupHeartbeatRequestData request() {
                return new ConsumerGroupHeartbeatRequestData().setGroupId("g").setMemberId(memberId).setInstanceId(instanceId).setMemberEpoch(epoch);
            }

            void join() throws Exception {
                epoch = 0;
                owned = List.of();
                choose();
                send(full());
            }

            void subscribe() throws Exception {
                choose();
                send(full());
            }

            void beat() throws Exception {
                send(request().setTopicPartitions(owned));
            }

            void leave(int leaveEpoch) throws Exception {
                send(request().setMemberEpoch(leaveEpoch));
                epoch = 0;
                owned = List.of();
            }

            private void send(ConsumerGroupHeartbeatRequestData request) throws Exception {
                try {
                    var result = coordinator.shard.consumerGroupHeartbeat(new Context(), request);
                    coordinator.write(result.records());
                    ConsumerGroupHeartbeatResponseData answer = result.response();
                    epoch = answer.memberEpoch();
                    if (answer.assignment() != null) {
                        owned = answer.assignment().topicPartitions().stream()
                            .map(each -> new ConsumerGroupHeartbeatRequestData.TopicPartitions().setTopicId(each.topicId()).setPartitions(each.partitions())).toList();
                    }
                } catch (ApiException error) {
                    epoch = 0;
                }
            }
        }
    }

    private static class Image implements CoordinatorMetadataImage {
        private final Map<String, TopicMetadata> byName = new TreeMap<>();
        private final Map<Uuid, TopicMetadata> byId = new HashMap<>();

        byte[] read(byte[] json) throws Exception {
            byName.clear();
            byId.clear();
            for (JsonNode each : JSON.readTree(json)) {
                Topic topic = new Topic(each.get("name").asText(), Uuid.fromString(each.get("id").asText()), each.get("partitions").asInt());
                byName.put(topic.name(), topic);
                byId.put(topic.id(), topic);
            }
            return new byte[0];
        }

        List<String> names() {
            return List.copyOf(byName.keySet());
        }

        @Override public Set<Uuid> topicIds() { return byId.keySet(); }
        @Override public Set<String> topicNames() { return byName.keySet(); }
        @Override public Optional<TopicMetadata> topicMetadata(String name) { return Optional.ofNullable(byName.get(name)); }
        @Override public Optional<TopicMetadata> topicMetadata(Uuid id) { return Optional.ofNullable(byId.get(id)); }
        @Override public CoordinatorMetadataDelta emptyDelta() { return CoordinatorMetadataDelta.EMPTY; }
        @Override public long version() { return 1; }
        @Override public boolean isEmpty() { return byName.isEmpty(); }
    }

    private record Topic(String name, Uuid id, int partitionCount) implements CoordinatorMetadataImage.TopicMetadata {
        @Override public List<String> partitionRacks(int partition) { return new ArrayList<>(); }
    }

    private static class ManualTime implements Time {
        long nowMs = 1_700_000_000_000L;

        @Override public long milliseconds() { return nowMs; }
        @Override public long nanoseconds() { return nowMs * 1_000_000; }
        @Override public void sleep(long ms) { nowMs += ms; }
    }

    /** Nothing ends by itself here. */
    private record HeldTimer(Coordinator coordinator) implements CoordinatorTimer<CoordinatorRecord> {
        @Override public void schedule(String key, long delay, TimeUnit unit, boolean retry, TimeoutOperation<CoordinatorRecord> operation) { coordinator.timers.put(key, operation); }
        @Override public void schedule(String key, long delay, TimeUnit unit, boolean retry, long backoff, TimeoutOperation<CoordinatorRecord> operation) { coordinator.timers.put(key, operation); }
        @Override public void scheduleIfAbsent(String key, long delay, TimeUnit unit, boolean retry, TimeoutOperation<CoordinatorRecord> operation) { coordinator.timers.putIfAbsent(key, operation); }
        @Override public void cancel(String key) { coordinator.timers.remove(key); }
        @Override public boolean isScheduled(String key) { return coordinator.timers.containsKey(key); }
    }

    private static class HeldExecutor implements CoordinatorExecutor<CoordinatorRecord> {
        private final Coordinator coordinator;
        private final Set<String> scheduled = new java.util.HashSet<>();

        HeldExecutor(Coordinator coordinator) { this.coordinator = coordinator; }

        @Override public <R> boolean schedule(String key, TaskRunnable<R> task, TaskOperation<CoordinatorRecord, R> operation) {
            if (!scheduled.add(key)) return false;
            coordinator.tasks.add(() -> {
                if (!scheduled.remove(key)) return;
                try {
                    R result = null;
                    Throwable failure = null;
                    try {
                        result = task.run();
                    } catch (Throwable thrown) {
                        failure = thrown;
                    }
                    coordinator.write(operation.onComplete(result, failure).records());
                } catch (Exception error) {
                    throw new IllegalStateException(error);
                }
            });
            return true;
        }

        @Override public boolean isScheduled(String key) { return scheduled.contains(key); }
        @Override public void cancel(String key) { scheduled.remove(key); }
    }

    private static class Context implements AuthorizableRequestContext {
        @Override public String listenerName() { return "PLAINTEXT"; }
        @Override public SecurityProtocol securityProtocol() { return SecurityProtocol.PLAINTEXT; }
        @Override public KafkaPrincipal principal() { return KafkaPrincipal.ANONYMOUS; }
        @Override public InetAddress clientAddress() { return InetAddress.getLoopbackAddress(); }
        @Override public int requestType() { return 68; }
        @Override public int requestVersion() { return 1; }
        @Override public String clientId() { return "oracle"; }
        @Override public int correlationId() { return 1; }
    }
}
