import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Scanner;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.state.Stores;

/**
 * A Kafka Streams application whose output tells whether each input counted exactly once, and the programs around it.
 *
 *   StreamsCount produce BOOTSTRAP PARTITIONS       input i, its value, to partition i % PARTITIONS, by an idempotent producer; each line of stdin says
 *                                                   up to which i, "produced LIMIT" that it is done
 *   StreamsCount run BOOTSTRAP THREADS STATE_FOLDER GROUPS GROUP_PARTITIONS
 *   StreamsCount read BOOTSTRAP PARTITIONS follow|once           "R PARTITION OFFSET GROUP COUNT SUM" as read_committed reads `out`; "once" to its end
 *
 * `run`: inputs are grouped by the low 32 bits of i * 2654435761 modulo GROUPS, go through a repartition topic of GROUP_PARTITIONS, and are counted and added up in a
 * store with a changelog; every change goes to `out` as "GROUP COUNT SUM". exactly_once_v2, no cache. Prints "state NAME" and "replaced CLASS" (a thread that died).
 */
public final class StreamsCount {
    private static final String APPLICATION = "count";

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "produce" -> produce(args[1], Integer.parseInt(args[2]));
            case "run" -> run(args[1], args[2], args[3], Integer.parseInt(args[4]), Integer.parseInt(args[5]));
            case "read" -> read(args[1], Integer.parseInt(args[2]), args[3].equals("once"));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static void produce(String bootstrap, int partitions) throws Exception {
        Properties settings = clientSettings(bootstrap);
        settings.put("enable.idempotence", "true");
        settings.put("acks", "all");
        settings.put("linger.ms", "10");
        settings.put("delivery.timeout.ms", "600000");
        settings.put("max.block.ms", "600000");
        settings.put("key.serializer", StringSerializer.class.getName());
        settings.put("value.serializer", StringSerializer.class.getName());
        AtomicReference<Exception> failure = new AtomicReference<>();
        int index = 0;
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings); Scanner limits = new Scanner(System.in)) {
            while (limits.hasNextInt()) {
                int limit = limits.nextInt();
                for (; index < limit && failure.get() == null; index++) {
                    producer.send(new ProducerRecord<>("in", index % partitions, null, Integer.toString(index)), (metadata, error) -> {
                        if (error != null) failure.set(error);
                    });
                }
                producer.flush();
                if (failure.get() != null) throw failure.get();
                print("produced " + limit);
            }
        }
    }

    private static Topology topology(int groups, int groupPartitions) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream("in", Consumed.with(Serdes.String(), Serdes.String()))
                .selectKey((key, value) -> Long.toString((Long.parseLong(value) * 2654435761L & 0xffffffffL) % groups))
                .repartition(Repartitioned.with(Serdes.String(), Serdes.String()).withName("by-group").withNumberOfPartitions(groupPartitions))
                .groupByKey(Grouped.with(Serdes.String(), Serdes.String()))
                .aggregate(() -> "0 0", StreamsCount::add, Materialized.<String, String>as(Stores.inMemoryKeyValueStore("counts"))
                        .withKeySerde(Serdes.String()).withValueSerde(Serdes.String()))
                .toStream()
                .mapValues((group, total) -> group + " " + total)
                .to("out", Produced.with(Serdes.String(), Serdes.String()));
        return builder.build();
    }

    private static String add(String group, String value, String total) {
        String[] words = total.split(" ");
        return (Long.parseLong(words[0]) + 1) + " " + (Long.parseLong(words[1]) + Long.parseLong(value));
    }

    private static void run(String bootstrap, String threads, String folder, int groups, int groupPartitions) throws Exception {
        Properties settings = clientSettings(bootstrap);
        settings.put("application.id", APPLICATION);
        settings.put("processing.guarantee", "exactly_once_v2");
        settings.put("num.stream.threads", threads);
        settings.put("state.dir", folder);
        settings.put("commit.interval.ms", "200");
        settings.put("statestore.cache.max.bytes", "0");
        settings.put("replication.factor", "1");
        settings.put("consumer.session.timeout.ms", "4000");
        settings.put("consumer.heartbeat.interval.ms", "1000");
        settings.put("consumer.auto.offset.reset", "earliest");
        settings.put("producer.transaction.timeout.ms", "5000");
        settings.put("producer.delivery.timeout.ms", "60000");
        settings.put("producer.request.timeout.ms", "10000");
        KafkaStreams streams = new KafkaStreams(topology(groups, groupPartitions), settings);
        CountDownLatch ended = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            print("state " + now);
            if (now == KafkaStreams.State.ERROR) ended.countDown();
        });
        streams.setUncaughtExceptionHandler(error -> {
            Throwable cause = error;
            while (cause.getCause() != null) cause = cause.getCause();
            System.err.println(error + " caused by " + cause);
            print("replaced " + cause.getClass().getSimpleName());
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(20))));
        streams.start();
        ended.await();
        System.exit(1);
    }

    private static void read(String bootstrap, int count, boolean once) {
        Properties settings = clientSettings(bootstrap);
        settings.put("isolation.level", "read_committed");
        settings.put("auto.offset.reset", "earliest");
        settings.put("max.poll.records", "5000");
        settings.put("key.deserializer", StringDeserializer.class.getName());
        settings.put("value.deserializer", StringDeserializer.class.getName());
        List<TopicPartition> partitions = IntStream.range(0, count).mapToObj(index -> new TopicPartition("out", index)).collect(Collectors.toList());
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = once ? consumer.endOffsets(partitions) : Map.of();
            while (!once || !ends.entrySet().stream().allMatch(end -> consumer.position(end.getKey()) >= end.getValue())) {
                StringBuilder lines = new StringBuilder();
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    lines.append("R ").append(record.partition()).append(' ').append(record.offset()).append(' ').append(record.value()).append('\n');
                }
                System.out.print(lines);
                System.out.flush();
            }
        }
    }

    private static Properties clientSettings(String bootstrap) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("reconnect.backoff.ms", "20");
        settings.put("reconnect.backoff.max.ms", "200");
        return settings;
    }

    private static synchronized void print(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
