import java.io.BufferedReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Apache Kafka's Java client over a corpus (test/support/corpus.ts). What every client program here does:
 *
 * <pre>
 *   produce BOOTSTRAP TOPIC CODEC FOLDER PARTITIONS      each line of FOLDER/p.txt becomes a record of partition p, in order
 *   consume BOOTSTRAP TOPIC COUNT[,COUNT...]             with assigned partitions; COUNT records of each; prints a JSON line for each:
 *           {"partition":0,"count":N,"sha256":"...","first":0,"contiguous":true}     (hash of every value followed by a line feed)
 *   perf-expectation FILE COUNT                          the line "consume" must print for partition 0 after kafka-producer-perf-test
 *                                                        has sent COUNT records drawn from the lines of FILE
 * </pre>
 */
public final class CorpusClient {
  public static void main(String[] args) throws Exception {
    switch (args[0]) {
      case "produce" -> produce(args[1], args[2], args[3], Path.of(args[4]), Integer.parseInt(args[5]));
      case "consume" -> consume(args[1], args[2], args[3].split(","));
      case "perf-expectation" -> perfExpectation(Path.of(args[1]), Long.parseLong(args[2]));
      default -> throw new IllegalArgumentException(args[0]);
    }
  }

  private static void produce(String bootstrap, String topic, String codec, Path folder, int partitions) throws Exception {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", bootstrap);
    settings.put("compression.type", codec);
    settings.put("acks", "all");
    settings.put("linger.ms", "5");
    settings.put("batch.size", "131072");
    AtomicReference<Exception> failure = new AtomicReference<>();
    long sent = 0;
    try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
      List<BufferedReader> readers = new ArrayList<>();
      for (int p = 0; p < partitions; p++) readers.add(Files.newBufferedReader(folder.resolve(p + ".txt")));
      for (int open = partitions; open > 0; ) {
        open = 0;
        for (int p = 0; p < partitions; p++) {
          String line = readers.get(p).readLine();
          if (line == null) continue;
          open++;
          sent++;
          producer.send(new ProducerRecord<>(topic, p, null, line.getBytes(StandardCharsets.UTF_8)), (metadata, error) -> {
            if (error != null) failure.compareAndSet(null, error);
          });
        }
      }
      producer.flush();
    }
    if (failure.get() != null) throw failure.get();
    System.out.println("produced " + sent);
  }

  private static void consume(String bootstrap, String topic, String[] counts) throws Exception {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", bootstrap);
    settings.put("enable.auto.commit", "false");
    settings.put("max.poll.records", "5000");
    int partitions = counts.length;
    long[] seen = new long[partitions];
    long[] wanted = new long[partitions];
    long[] first = new long[partitions];
    boolean[] contiguous = new boolean[partitions];
    MessageDigest[] digests = new MessageDigest[partitions];
    List<TopicPartition> assigned = new ArrayList<>();
    long missing = 0;
    for (int p = 0; p < partitions; p++) {
      assigned.add(new TopicPartition(topic, p));
      wanted[p] = Long.parseLong(counts[p]);
      missing += wanted[p];
      first[p] = -1;
      contiguous[p] = true;
      digests[p] = MessageDigest.getInstance("SHA-256");
    }
    try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.assign(assigned);
      consumer.seekToBeginning(assigned);
      long deadline = System.nanoTime() + Duration.ofMinutes(4).toNanos();
      while (missing > 0) {
        if (System.nanoTime() > deadline) throw new IllegalStateException(missing + " records did not come");
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
          int p = record.partition();
          if (first[p] < 0) first[p] = record.offset();
          contiguous[p] &= record.offset() == first[p] + seen[p];
          digests[p].update(record.value());
          digests[p].update((byte) '\n');
          seen[p]++;
          missing--;
        }
      }
      // Nothing may follow what was produced.
      consumer.endOffsets(assigned).forEach((partition, end) -> {
        int p = partition.partition();
        if (end != first[p] + wanted[p]) throw new IllegalStateException(partition + " ends at " + end);
      });
    }
    for (int p = 0; p < partitions; p++) print(p, seen[p], digests[p], first[p], contiguous[p]);
  }

  /** kafka-producer-perf-test draws each payload with a SplittableRandom of seed 0; so what it sends is known. */
  private static void perfExpectation(Path file, long count) throws Exception {
    List<byte[]> payloads = new ArrayList<>();
    for (String line : Files.readAllLines(file)) payloads.add(line.getBytes(StandardCharsets.UTF_8));
    SplittableRandom random = new SplittableRandom(0);
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    for (long i = 0; i < count; i++) {
      digest.update(payloads.get(random.nextInt(payloads.size())));
      digest.update((byte) '\n');
    }
    print(0, count, digest, 0, true);
  }

  private static void print(int partition, long count, MessageDigest digest, long first, boolean contiguous) {
    System.out.printf(
        "{\"partition\":%d,\"count\":%d,\"sha256\":\"%s\",\"first\":%d,\"contiguous\":%b}%n",
        partition, count, HexFormat.of().formatHex(digest.digest()), first, contiguous);
  }
}
