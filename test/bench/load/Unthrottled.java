// As fast as one client and one server go: records as fast as the producer takes them, and reads as fast as a consumer polls. The clock
// starts when the client is connected and knows the topic, and stops at the last acknowledgement or record. Neighbours: LoadProgram.java.
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicLong;
import org.HdrHistogram.ConcurrentHistogram;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

final class Unthrottled {
    private static final long MAX_MICROS = 600_000_000L;

    private Unthrottled() {}

    /**
     * topic= seconds= [maxBytes=] [size=1000] [data=letters|random] [linger=0] [batch=16384] [idempotence=true] [acks=all] [compression=none].
     * Ends after `seconds` or `maxBytes`, whichever is first. `latencyMs` runs from send() to the acknowledgement and so holds the client's own queue.
     */
    static String produce(LoadProgram.Command command) throws Exception {
        String topic = command.text("topic");
        int size = (int) command.number("size", 1000);
        long maxRecords = (long) (command.number("maxBytes", 1e12) / size);
        byte[][] values = LoadProgram.values(command.text("data", "letters"), size);
        var latencies = new ConcurrentHistogram(MAX_MICROS, 3);
        var acknowledged = new AtomicLong();
        var failed = new AtomicLong();
        var failure = new Exception[1];
        long sent = 0;
        long begun;
        try (var producer = new KafkaProducer<>(LoadProgram.producerSettings(command), new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.partitionsFor(topic);
            begun = System.nanoTime();
            long end = begun + (long) (command.number("seconds", 5) * 1e9);
            for (long now = begun; now < end && sent < maxRecords && failed.get() == 0; sent++, now = System.nanoTime()) {
                long at = now;
                producer.send(new ProducerRecord<>(topic, values[(int) (sent % values.length)]), (metadata, error) -> {
                    if (error != null) {
                        if (failed.getAndIncrement() == 0) failure[0] = error;
                        return;
                    }
                    acknowledged.incrementAndGet();
                    latencies.recordValue(Math.min(MAX_MICROS, (System.nanoTime() - at) / 1000));
                });
            }
            producer.flush();
        }
        double seconds = (System.nanoTime() - begun) / 1e9;
        if (failed.get() > 0) throw new IllegalStateException(failed.get() + " records failed, the first by " + failure[0]);
        return String.format(Locale.ROOT, "\"records\": %d, \"bytes\": %d, \"seconds\": %.4f, \"megabytesPerSecond\": %.3f, \"latencyMs\": %s",
            acknowledged.get(), acknowledged.get() * size, seconds, acknowledged.get() * size / seconds / 1e6, LoadProgram.quantiles(latencies));
    }

    /**
     * topic= [passes=1] [maxBytes=]: every record of partition 0, from the earliest to the end as it is at the beginning or until a pass has read
     * `maxBytes`; `passes` times over. Each offset must follow the one before it.
     */
    static String consume(LoadProgram.Command command) throws Exception {
        var partition = new TopicPartition(command.text("topic"), 0);
        int passes = (int) command.number("passes", 1);
        long maxBytes = (long) command.number("maxBytes", Long.MAX_VALUE / 2);
        long records = 0;
        long bytes = 0;
        try (var consumer = new KafkaConsumer<>(LoadProgram.consumerSettings(command), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            long begun = System.nanoTime();
            long progress = begun;
            for (int pass = 0; pass < passes; pass++) {
                consumer.seekToBeginning(List.of(partition));
                long next = consumer.position(partition);
                long enough = bytes + maxBytes;
                while (next < end && bytes < enough) {
                    for (ConsumerRecord<byte[], byte[]> each : consumer.poll(Duration.ofMillis(200))) {
                        if (each.offset() != next) throw new IllegalStateException("offset " + each.offset() + " where " + next + " was due");
                        next++;
                        records++;
                        bytes += each.value().length;
                        progress = System.nanoTime();
                    }
                    if (System.nanoTime() - progress > 60_000_000_000L) throw new IllegalStateException("nothing for 60 s at offset " + next + " of " + end);
                }
            }
            double seconds = (System.nanoTime() - begun) / 1e9;
            return String.format(Locale.ROOT, "\"records\": %d, \"bytes\": %d, \"seconds\": %.4f, \"megabytesPerSecond\": %.3f", records, bytes, seconds,
                bytes / seconds / 1e6);
        }
    }
}
