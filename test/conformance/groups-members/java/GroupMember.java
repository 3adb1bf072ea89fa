import java.time.Duration;
import java.time.Instant;
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
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * One member of a group, in Java: GroupMember BOOTSTRAP TOPIC GROUP INSTANCE|- SESSION_MS [ASSIGNOR|consumer]; "consumer": by the consumer protocol (KIP-848), whose
 * times are the broker's; a topic that begins with "^" is a pattern. Prints "R MICROS PARTITION OFFSET" for each record it
 * processes and "C MICROS PARTITION OFFSET" for each offset whose commit was acknowledged. SIGTERM makes it leave.
 */
public final class GroupMember {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("group.id", args[2]);
        if (!args[3].equals("-")) properties.put("group.instance.id", args[3]);
        boolean byConsumerProtocol = args.length > 5 && args[5].equals("consumer");
        if (byConsumerProtocol) {
            properties.put("group.protocol", "consumer");
        } else {
            properties.put("session.timeout.ms", args[4]);
            properties.put("heartbeat.interval.ms", "1000");
            if (args.length > 5) properties.put("partition.assignment.strategy", args[5]);
        }
        properties.put("enable.auto.commit", "false");
        properties.put("auto.offset.reset", "earliest");
        properties.put("max.poll.records", "50");
        properties.put("default.api.timeout.ms", "15000");
        properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
        properties.put("value.deserializer", ByteArrayDeserializer.class.getName());

        KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties);
        AtomicBoolean stopping = new AtomicBoolean();
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping.set(true);
            consumer.wakeup();
            try {
                stopped.await();
            } catch (InterruptedException ignored) {
                Thread.currentThread().interrupt();
            }
        }));
        if (byConsumerProtocol && args[1].startsWith("^")) consumer.subscribe(new SubscriptionPattern(args[1]));
        else consumer.subscribe(List.of(args[1]));
        try {
            while (!stopping.get()) consumeOnce(consumer);
        } catch (WakeupException ignored) {
            // Told to stop.
        } finally {
            consumer.close();
            stopped.countDown();
        }
    }

    private static void consumeOnce(KafkaConsumer<byte[], byte[]> consumer) throws InterruptedException {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
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
        } catch (WakeupException stop) {
            throw stop;
        } catch (KafkaException refused) {
            System.err.println("commit: " + refused);
            return;
        }
        lines.setLength(0);
        next.forEach((partition, offset) -> lines.append(line('C', partition.partition(), offset.offset())));
        print(lines);
    }

    private static String line(char kind, int partition, long offset) {
        Instant now = Instant.now();
        return kind + " " + (now.getEpochSecond() * 1_000_000 + now.getNano() / 1000) + " " + partition + " " + offset + "\n";
    }

    private static void print(StringBuilder lines) {
        System.out.print(lines);
        System.out.flush();
    }
}
