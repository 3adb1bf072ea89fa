import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A read_committed reader of whole partitions: CommittedReader BOOTSTRAP TOPIC PARTITIONS follow|once. Prints "R PARTITION VALUE" for each record from the
 * first offset on; "once" ends at the last stable offsets as they were at its start, after "E PARTITION LAST_STABLE_OFFSET" for each.
 */
public final class CommittedReader {
    public static void main(String[] args) {
        boolean once = args[3].equals("once");
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("isolation.level", "read_committed");
        settings.put("auto.offset.reset", "earliest");
        settings.put("reconnect.backoff.ms", "20");
        settings.put("reconnect.backoff.max.ms", "200");
        settings.put("key.deserializer", StringDeserializer.class.getName());
        settings.put("value.deserializer", StringDeserializer.class.getName());
        List<TopicPartition> partitions =
                IntStream.range(0, Integer.parseInt(args[2])).mapToObj(index -> new TopicPartition(args[1], index)).collect(Collectors.toList());
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = once ? consumer.endOffsets(partitions) : Map.of();
            while (!once || !hasReached(consumer, ends)) print(consumer);
            ends.forEach((partition, end) -> System.out.println("E " + partition.partition() + " " + end));
        }
    }

    private static boolean hasReached(KafkaConsumer<String, String> consumer, Map<TopicPartition, Long> ends) {
        return ends.entrySet().stream().allMatch(end -> consumer.position(end.getKey()) >= end.getValue());
    }

    private static void print(KafkaConsumer<String, String> consumer) {
        StringBuilder lines = new StringBuilder();
        for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
            lines.append("R ").append(record.partition()).append(' ').append(record.value()).append('\n');
        }
        System.out.print(lines);
        System.out.flush();
    }
}
