// Open-loop load: records leave at a fixed schedule whatever the server does, and latency runs from the scheduled time of a record, so that a
// stall counts against each record that was due while it lasted. Neighbours: LoadProgram.java.
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.HdrHistogram.ConcurrentHistogram;
import org.HdrHistogram.Histogram;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

final class OpenLoop {
    private static final long MAX_MICROS = 600_000_000L;
    private static final int STAMP_BYTES = 24;

    private final String topic;
    private final double rate;
    private final long total;
    private final long uncounted;
    private final long runId = System.nanoTime();
    private final ConcurrentHistogram acknowledgements = new ConcurrentHistogram(MAX_MICROS, 3);
    private final Histogram arrivals = new Histogram(MAX_MICROS, 3);
    private final AtomicLong acknowledged = new AtomicLong();
    private final AtomicLong failed = new AtomicLong();
    private volatile Exception firstFailure;
    private volatile long received;
    private volatile boolean isOver;

    private OpenLoop(LoadProgram.Command command) {
        topic = command.text("topic");
        rate = command.number("rate", 5000);
        uncounted = (long) (rate * command.number("warmUp", 2));
        total = uncounted + (long) (rate * command.number("seconds", 5));
    }

    /**
     * topic= rate= (records/s) seconds= [warmUp=2] (seconds before that, not counted) [consume=false] [size=1000] [data=letters] and the settings of a
     * producer. `ackMs` and, with consume=true, `arrivalMs` (at a consumer of this process) count from the scheduled time.
     */
    static String run(LoadProgram.Command command) throws Exception {
        return new OpenLoop(command).measure(command);
    }

    private String measure(LoadProgram.Command command) throws Exception {
        boolean consumes = Boolean.parseBoolean(command.text("consume", "false"));
        Thread consumer = null;
        if (consumes) {
            var ready = new CountDownLatch(1);
            consumer = new Thread(() -> consume(command, ready), "arrivals");
            consumer.setDaemon(true);
            consumer.start();
            if (!ready.await(60, TimeUnit.SECONDS)) throw new IllegalStateException("the consumer did not get ready: " + firstFailure);
        }
        long begun;
        long latestNanos = 0;
        double seconds;
        try (var producer = new KafkaProducer<>(LoadProgram.producerSettings(command), new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.partitionsFor(topic);
            byte[][] values = LoadProgram.values(command.text("data", "letters"), (int) Math.max(STAMP_BYTES, command.number("size", 1000)));
            begun = System.nanoTime() + 20_000_000L;
            for (long i = 0; i < total && firstFailure == null; i++) {
                long due = begun + (long) (i * (1e9 / rate));
                long now = System.nanoTime();
                for (; now < due; now = System.nanoTime()) LockSupport.parkNanos(due - now);
                latestNanos = Math.max(latestNanos, now - due);
                send(producer, values[(int) (i % values.length)], i, due);
            }
            producer.flush();
            seconds = (System.nanoTime() - begun) / 1e9;
        }
        long patience = System.nanoTime() + 20_000_000_000L;
        while (consumes && received < acknowledged.get() && firstFailure == null && System.nanoTime() < patience) Thread.sleep(5);
        isOver = true;
        if (consumer != null) consumer.join(20_000);
        if (firstFailure != null) throw new IllegalStateException(failed.get() + " records failed; " + firstFailure);
        return String.format(Locale.ROOT, "\"records\": %d, \"bytes\": %d, \"received\": %d, \"seconds\": %.4f, \"achievedRate\": %.1f, \"latestSendMs\": %.3f, \"ackMs\": %s%s",
            acknowledged.get(), acknowledged.get() * (long) command.number("size", 1000), received, seconds, total / seconds, latestNanos / 1e6,
            LoadProgram.quantiles(acknowledgements), consumes ? ", \"arrivalMs\": " + LoadProgram.quantiles(arrivals) : "");
    }

    private void send(KafkaProducer<byte[], byte[]> producer, byte[] filling, long number, long due) {
        byte[] value = filling.clone();
        ByteBuffer.wrap(value).putLong(runId).putLong(number).putLong(due);
        producer.send(new ProducerRecord<>(topic, value), (metadata, error) -> {
            if (error != null) {
                if (failed.getAndIncrement() == 0) firstFailure = error;
                return;
            }
            acknowledged.incrementAndGet();
            if (number >= uncounted) acknowledgements.recordValue(microsSince(due, System.nanoTime()));
        });
    }

    private void consume(LoadProgram.Command command, CountDownLatch ready) {
        var partition = List.of(new TopicPartition(topic, 0));
        try (var consumer = new KafkaConsumer<>(LoadProgram.consumerSettings(command), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(partition);
            consumer.seekToEnd(partition);
            consumer.position(partition.get(0), Duration.ofSeconds(60));
            consumer.poll(Duration.ofMillis(50));
            ready.countDown();
            long due = 0;
            while (!isOver) {
                for (ConsumerRecord<byte[], byte[]> each : consumer.poll(Duration.ofMillis(100))) {
                    long now = System.nanoTime();
                    var stamp = ByteBuffer.wrap(each.value());
                    if (stamp.getLong() != runId) continue;
                    long number = stamp.getLong();
                    if (number != due) throw new IllegalStateException("record " + number + " arrived where " + due + " was due");
                    due++;
                    received = due;
                    if (number >= uncounted) arrivals.recordValue(microsSince(stamp.getLong(), now));
                }
            }
        } catch (Exception error) {
            firstFailure = error;
        }
    }

    private static long microsSince(long due, long now) {
        return Math.min(MAX_MICROS, Math.max(0, (now - due) / 1000));
    }
}
