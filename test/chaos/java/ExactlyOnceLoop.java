import java.time.Duration;
import java.util.Collection;
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
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A consume-transform-produce loop: ExactlyOnceLoop BOOTSTRAP IN OUT GROUP TRANSACTIONAL_ID ABORT_EVERY. Copies records from IN to the same partition of
 * OUT within transactions that also carry the group's offsets; every ABORT_EVERY-th transaction is flushed, aborted on purpose and done again. The value
 * written is "OFFSET_IN_INPUT ATTEMPT VERDICT", where the verdict is what the loop meant to do ("commit" or "abort"). Any error that is not answered by aborting
 * closes both clients and starts new ones, as KafkaProducer's documentation says. Prints "commit", "abort", "undo" (an abort after an error) or "anew CLASS".
 */
public final class ExactlyOnceLoop {
    private static long attempts;

    public static void main(String[] args) throws Exception {
        int abortEvery = Integer.parseInt(args[5]);
        while (true) {
            try (KafkaProducer<String, String> producer = new KafkaProducer<>(producerSettings(args[0], args[4]));
                    KafkaConsumer<String, String> consumer = new KafkaConsumer<>(consumerSettings(args[0], args[3]))) {
                producer.initTransactions();
                consumer.subscribe(List.of(args[1]));
                while (true) copyOnce(consumer, producer, args[2], abortEvery);
            } catch (KafkaException broken) {
                System.err.println(broken);
                print("anew " + broken.getClass().getSimpleName());
                Thread.sleep(100);
            }
        }
    }

    private static void copyOnce(KafkaConsumer<String, String> consumer, KafkaProducer<String, String> producer, String out, int abortEvery) {
        ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
        if (records.isEmpty()) return;
        boolean aborts = ++attempts % abortEvery == 0;
        try {
            producer.beginTransaction();
            Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
            for (ConsumerRecord<String, String> record : records) {
                String value = record.offset() + " " + attempts + " " + (aborts ? "abort" : "commit");
                producer.send(new ProducerRecord<>(out, record.partition(), null, value));
                next.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
            }
            producer.sendOffsetsToTransaction(next, consumer.groupMetadata());
            if (aborts) {
                producer.flush();
                producer.abortTransaction();
                rewind(consumer, records.partitions(), records);
                print("abort");
            } else {
                producer.commitTransaction();
                print("commit");
            }
        } catch (org.apache.kafka.common.errors.ProducerFencedException | org.apache.kafka.common.errors.OutOfOrderSequenceException
                | org.apache.kafka.common.errors.AuthorizationException | org.apache.kafka.common.errors.TimeoutException fatal) {
            throw fatal;
        } catch (KafkaException abortable) {
            System.err.println(abortable);
            producer.abortTransaction();
            rewind(consumer, records.partitions(), records);
            print("undo");
        }
    }

    /** Back to where these records began; what was taken away meanwhile is the next owner's. */
    private static void rewind(
            KafkaConsumer<String, String> consumer, Collection<TopicPartition> partitions, ConsumerRecords<String, String> records) {
        for (TopicPartition partition : partitions) {
            if (consumer.assignment().contains(partition)) consumer.seek(partition, records.records(partition).get(0).offset());
        }
    }

    private static Properties producerSettings(String bootstrap, String transactionalId) {
        Properties settings = clientSettings(bootstrap);
        settings.put("transactional.id", transactionalId);
        settings.put("transaction.timeout.ms", "10000");
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
        settings.put("session.timeout.ms", "6000");
        settings.put("heartbeat.interval.ms", "1000");
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

    private static void print(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
