import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Members of a group, in Java: GroupMember BOOTSTRAP TOPIC GROUP INSTANCE|- SESSION_MS [KEY=VALUE...], or "version".
 *   protocol=consumer   by the consumer protocol (KIP-848), whose times are the broker's; a topic that begins with "^" is then a pattern
 *   assignor=CLASS      of the classic protocol
 *   members=N first=F   N members in this process, with the numbers F, F+1, ...; a static one's instance is INSTANCE-NUMBER
 *   groups=each         each member has its own group, GROUP-NUMBER
 * Prints "R MICROS PARTITION OFFSET NUMBER" for each record that a member processes and "C MICROS PARTITION OFFSET NUMBER" for each
 * offset whose commit was acknowledged. SIGTERM makes all leave.
 */
public final class GroupMember implements Runnable {
    private static final AtomicBoolean stopping = new AtomicBoolean();
    /** So many consumers that wake up all the time leave no processor to anybody. */
    private static final int CROWD = 50;

    private final KafkaConsumer<byte[], byte[]> consumer;
    private final int number;
    private final Duration patience;
    private final CountDownLatch stopped;

    private GroupMember(KafkaConsumer<byte[], byte[]> consumer, int number, boolean inCrowd, CountDownLatch stopped) {
        this.consumer = consumer;
        this.number = number;
        this.patience = Duration.ofMillis(inCrowd ? 1000 : 200);
        this.stopped = stopped;
    }

    public static void main(String[] args) throws IOException {
        if (args[0].equals("version")) {
            Properties library = new Properties();
            library.load(KafkaConsumer.class.getResourceAsStream("/kafka/kafka-version.properties"));
            System.out.println(library.getProperty("version"));
            return;
        }
        Map<String, String> options = new HashMap<>();
        for (int at = 5; at < args.length; at++) {
            String[] pair = args[at].split("=", 2);
            options.put(pair[0], pair[1]);
        }
        int count = Integer.parseInt(options.getOrDefault("members", "1"));
        int first = Integer.parseInt(options.getOrDefault("first", "0"));
        CountDownLatch stopped = new CountDownLatch(count);
        List<GroupMember> members = new ArrayList<>();
        for (int number = first; number < first + count; number++) {
            KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties(args, options, number, count));
            boolean isPattern = args[1].startsWith("^") && options.containsKey("protocol");
            if (isPattern) consumer.subscribe(new SubscriptionPattern(args[1]));
            else consumer.subscribe(List.of(args[1]));
            members.add(new GroupMember(consumer, number, count >= CROWD, stopped));
        }
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping.set(true);
            try {
                stopped.await();
            } catch (InterruptedException ignored) {
                Thread.currentThread().interrupt();
            }
        }));
        members.forEach(member -> new Thread(member).start());
    }

    private static Properties properties(String[] args, Map<String, String> options, int number, int count) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("group.id", options.containsKey("groups") ? args[2] + "-" + number : args[2]);
        if (!args[3].equals("-")) properties.put("group.instance.id", count == 1 ? args[3] : args[3] + "-" + number);
        if (options.containsKey("protocol")) {
            properties.put("group.protocol", options.get("protocol"));
        } else {
            properties.put("session.timeout.ms", args[4]);
            properties.put("heartbeat.interval.ms", "1000");
            if (options.containsKey("assignor")) properties.put("partition.assignment.strategy", options.get("assignor"));
        }
        if (count >= CROWD) properties.put("fetch.max.wait.ms", "5000");
        properties.put("enable.auto.commit", "false");
        properties.put("auto.offset.reset", "earliest");
        properties.put("max.poll.records", "50");
        properties.put("default.api.timeout.ms", count >= CROWD ? "60000" : "15000");
        properties.put("enable.metrics.push", "false");
        properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
        properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
        return properties;
    }

    @Override
    public void run() {
        try {
            while (!stopping.get()) consumeOnce();
        } catch (InterruptedException ignored) {
            Thread.currentThread().interrupt();
        } catch (KafkaException unexpected) {
            System.err.println("member " + number + " ends: " + unexpected);
        } finally {
            consumer.close();
            stopped.countDown();
        }
    }

    private void consumeOnce() throws InterruptedException {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(patience);
        if (records.isEmpty()) return;
        Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
        StringBuilder lines = new StringBuilder();
        records.forEach(record -> {
            lines.append(line('R', record.partition(), record.offset()));
            next.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
        });
        print(lines);
        Thread.sleep(5);
        try {
            consumer.commitSync(next);
        } catch (KafkaException refused) {
            System.err.println("commit: " + refused);
            return;
        }
        lines.setLength(0);
        next.forEach((partition, offset) -> lines.append(line('C', partition.partition(), offset.offset())));
        print(lines);
    }

    private String line(char kind, int partition, long offset) {
        Instant now = Instant.now();
        return kind + " " + (now.getEpochSecond() * 1_000_000 + now.getNano() / 1000) + " " + partition + " " + offset + " " + number + "\n";
    }

    private static void print(StringBuilder lines) {
        System.out.print(lines);
        System.out.flush();
    }
}
