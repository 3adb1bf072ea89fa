// Transactions one after another, by one or several transactional ids, each with a producer and a thread of its own: begin, send, commit, and again at once.
// What a transaction holds is given by its records, or by the time for which records are sent as fast as the producer takes them. The clock starts when
// every id has committed one transaction, and stops when the last has committed its last. Neighbours: LoadProgram.java.
import java.util.ArrayList;
import java.util.Locale;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.HdrHistogram.ConcurrentHistogram;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

final class Transactions {
    private static final long MAX_MICROS = 600_000_000L;

    private final LoadProgram.Command command;
    private final String topic;
    private final byte[][] values;
    private final int records;
    private final long workNanos;
    private final long maxRecords;
    private final ConcurrentHistogram commits = new ConcurrentHistogram(MAX_MICROS, 3);
    private final ConcurrentHistogram transactions = new ConcurrentHistogram(MAX_MICROS, 3);
    private final AtomicLong sent = new AtomicLong();
    private volatile long end = Long.MAX_VALUE;
    private volatile Exception failure;

    private Transactions(LoadProgram.Command command) {
        this.command = command;
        topic = command.text("topic");
        int size = (int) command.number("size", 1000);
        values = LoadProgram.values(command.text("data", "letters"), size);
        workNanos = (long) (command.number("workMs", 0) * 1e6);
        records = (int) command.number("records", 1);
        maxRecords = (long) (command.number("maxBytes", 1e12) / size);
    }

    /**
     * topic= seconds= [ids=1] [records=1 | workMs=] [maxBytes=] [size=1000] [data=letters] and the settings of a producer. `commitMs` is the time of
     * commitTransaction(), which waits for the records too; `transactionMs`, from beginTransaction() to its return.
     */
    static String run(LoadProgram.Command command) throws Exception {
        return new Transactions(command).measure();
    }

    private String measure() throws Exception {
        int ids = (int) command.number("ids", 1);
        var warm = new CountDownLatch(ids);
        var go = new CountDownLatch(1);
        var threads = new ArrayList<Thread>();
        for (int id = 0; id < ids; id++) {
            String transactionalId = topic + "-" + id;
            var thread = new Thread(() -> work(transactionalId, warm, go), transactionalId);
            thread.setDaemon(true);
            thread.start();
            threads.add(thread);
        }
        warm.await();
        sent.set(0);
        commits.reset();
        transactions.reset();
        long begun = System.nanoTime();
        end = begun + (long) (command.number("seconds", 5) * 1e9);
        go.countDown();
        for (Thread thread : threads) thread.join();
        double seconds = (System.nanoTime() - begun) / 1e9;
        if (failure != null) throw failure;
        long size = values[0].length;
        return String.format(Locale.ROOT, "\"transactions\": %d, \"records\": %d, \"bytes\": %d, \"seconds\": %.4f, \"megabytesPerSecond\": %.3f, "
            + "\"transactionsPerSecond\": %.2f, \"commitMs\": %s, \"transactionMs\": %s", commits.getTotalCount(), sent.get(), sent.get() * size, seconds,
            sent.get() * size / seconds / 1e6, commits.getTotalCount() / seconds, LoadProgram.quantiles(commits), LoadProgram.quantiles(transactions));
    }

    private void work(String transactionalId, CountDownLatch warm, CountDownLatch go) {
        Properties settings = LoadProgram.producerSettings(command);
        settings.put("transactional.id", transactionalId);
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
            transact(producer);
            warm.countDown();
            go.await();
            while (System.nanoTime() < end && sent.get() < maxRecords && failure == null) transact(producer);
        } catch (Exception error) {
            failure = error;
            warm.countDown();
        }
    }

    private void transact(KafkaProducer<byte[], byte[]> producer) {
        long begun = System.nanoTime();
        producer.beginTransaction();
        int count = 0;
        do {
            producer.send(new ProducerRecord<>(topic, values[count++ % values.length]));
        } while (workNanos == 0 ? count < records : System.nanoTime() - begun < workNanos);
        long ending = System.nanoTime();
        producer.commitTransaction();
        long now = System.nanoTime();
        sent.addAndGet(count);
        commits.recordValue(Math.min(MAX_MICROS, (now - ending) / 1000));
        transactions.recordValue(Math.min(MAX_MICROS, (now - begun) / 1000));
    }
}
