import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.InvalidPidMappingException;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.OutOfOrderSequenceException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A consume-transform-produce loop: ExactlyOnceLoop BOOTSTRAP IN OUT GROUP TRANSACTIONAL_ID NAME TRANSACTION_TIMEOUT_MS STALL_MS. Copies records from IN to
 * the same partition of OUT within transactions that also carry the group's offsets. The value written is "OFFSET_IN_INPUT NAME.ATTEMPT PLAN". Plans, by the attempt's number:
 *   commit   as one does
 *   abort    every 3rd: flushed, aborted on purpose, done again
 *   spoil    every 10th: one record is larger than the broker takes, so the transaction can only be aborted
 *   stall    the 7th, then every 100th: left open for STALL_MS, longer than its time-out, and only then committed
 * An error that aborting does not answer closes both clients and starts new ones, as KafkaProducer's documentation says. Once a line came on stdin
 * (a successor has the transactional id now) being fenced ends the program.
 * Prints "ready", "commit ID", "abort ID", "undo ID CLASS" (aborted after an error), "timeout ID CLASS" (a stalled one was refused), "overrun ID"
 * (a stalled one was committed), "fenced CLASS", "anew CLASS". A verdict is printed only when the client knows it.
 */
public final class ExactlyOnceLoop {
    private static final String OVERSIZED = "x".repeat(60_000);
    private static volatile boolean isRetired;

    private final String out;
    private final String name;
    private final long stallMs;
    private long attempts;

    private ExactlyOnceLoop(String out, String name, long stallMs) {
        this.out = out;
        this.name = name;
        this.stallMs = stallMs;
    }

    public static void main(String[] args) throws Exception {
        Thread commands = new Thread(ExactlyOnceLoop::awaitRetirement);
        commands.setDaemon(true);
        commands.start();
        ExactlyOnceLoop loop = new ExactlyOnceLoop(args[2], args[5], Long.parseLong(args[7]));
        while (true) {
            KafkaProducer<String, String> producer = new KafkaProducer<>(producerSettings(args[0], args[4], args[6]));
            KafkaConsumer<String, String> consumer = new KafkaConsumer<>(consumerSettings(args[0], args[3]));
            try {
                producer.initTransactions();
                print("ready");
                consumer.subscribe(List.of(args[1]));
                while (true) loop.copyOnce(consumer, producer);
            } catch (KafkaException broken) {
                System.err.println(broken);
                print((isFenced(broken) ? "fenced " : "anew ") + nameOf(broken));
                if (isRetired && isFenced(broken)) System.exit(0);
            } finally {
                consumer.close(org.apache.kafka.clients.consumer.CloseOptions.timeout(Duration.ofSeconds(2)));
                producer.close(Duration.ofSeconds(2));
            }
            Thread.sleep(100);
        }
    }

    private static void awaitRetirement() {
        try {
            if (System.in.read() >= 0) isRetired = true;
        } catch (java.io.IOException gone) {
            isRetired = false;
        }
    }

    private void copyOnce(KafkaConsumer<String, String> consumer, KafkaProducer<String, String> producer) throws InterruptedException {
        ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
        if (records.isEmpty()) return;
        attempts++;
        String plan = planOf(attempts);
        String id = name + "." + attempts;
        try {
            producer.beginTransaction();
            send(producer, records, " " + id + " " + plan);
            if (plan.equals("spoil")) producer.send(new ProducerRecord<>(out, 0, null, "-1 " + id + " spoil " + OVERSIZED));
            producer.sendOffsetsToTransaction(nextOffsets(records), consumer.groupMetadata());
            if (plan.equals("abort") || plan.equals("stall")) producer.flush();
            if (plan.equals("stall")) Thread.sleep(stallMs);
            if (plan.equals("abort")) {
                producer.abortTransaction();
                rewind(consumer, records);
                print("abort " + id);
            } else {
                producer.commitTransaction();
                print((plan.equals("stall") ? "overrun " : "commit ") + id);
            }
        } catch (KafkaException error) {
            if (plan.equals("stall") && !hasCause(error, TimeoutException.class)) print("timeout " + id + " " + nameOf(error));
            if (isFatal(error)) throw error;
            System.err.println(error);
            producer.abortTransaction();
            rewind(consumer, records);
            print("undo " + id + " " + nameOf(error));
        }
    }

    private static String planOf(long attempt) {
        if (attempt % 100 == 7) return "stall";
        if (attempt % 10 == 5) return "spoil";
        return attempt % 3 == 0 ? "abort" : "commit";
    }

    private void send(KafkaProducer<String, String> producer, ConsumerRecords<String, String> records, String suffix) {
        for (ConsumerRecord<String, String> record : records) {
            producer.send(new ProducerRecord<>(out, record.partition(), null, record.offset() + suffix));
        }
    }

    private static Map<TopicPartition, OffsetAndMetadata> nextOffsets(ConsumerRecords<String, String> records) {
        Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
        for (ConsumerRecord<String, String> record : records) {
            next.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        return next;
    }

    /** Back to where these records began; what was taken away meanwhile is the next owner's. */
    private static void rewind(KafkaConsumer<String, String> consumer, ConsumerRecords<String, String> records) {
        for (TopicPartition partition : records.partitions()) {
            if (consumer.assignment().contains(partition)) consumer.seek(partition, records.records(partition).get(0).offset());
        }
    }

    /** What the documentation of KafkaProducer says cannot be aborted; a time-out leaves open whether the server did it. */
    private static boolean isFatal(KafkaException error) {
        return isFenced(error)
                || hasCause(error, OutOfOrderSequenceException.class)
                || hasCause(error, AuthorizationException.class)
                || hasCause(error, InvalidPidMappingException.class)
                || hasCause(error, TimeoutException.class);
    }

    private static boolean isFenced(KafkaException error) {
        return hasCause(error, ProducerFencedException.class) || hasCause(error, InvalidProducerEpochException.class);
    }

    private static boolean hasCause(Throwable error, Class<?> kind) {
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            if (kind.isInstance(cause)) return true;
        }
        return false;
    }

    /** The innermost Kafka class: what the server or the client found, without what it was wrapped in. */
    private static String nameOf(Throwable error) {
        String name = error.getClass().getSimpleName();
        for (Throwable cause = error.getCause(); cause instanceof KafkaException; cause = cause.getCause()) name = cause.getClass().getSimpleName();
        return name;
    }

    private static Properties producerSettings(String bootstrap, String transactionalId, String timeoutMs) {
        Properties settings = clientSettings(bootstrap);
        settings.put("transactional.id", transactionalId);
        settings.put("transaction.timeout.ms", timeoutMs);
        settings.put("linger.ms", "2");
        settings.put("max.block.ms", "30000");
        settings.put("key.serializer", StringSerializer.class.getName());
        settings.put("value.serializer", StringSerializer.class.getName());
        return settings;
    }

    private static Properties consumerSettings(String bootstrap, String group) {
        Properties settings = clientSettings(bootstrap);
        settings.put("group.id", group);
        settings.put("isolation.level", "read_committed");
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        settings.put("session.timeout.ms", "3000");
        settings.put("heartbeat.interval.ms", "500");
        settings.put("max.poll.records", "100");
        settings.put("default.api.timeout.ms", "30000");
        settings.put("key.deserializer", StringDeserializer.class.getName());
        settings.put("value.deserializer", StringDeserializer.class.getName());
        return settings;
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
