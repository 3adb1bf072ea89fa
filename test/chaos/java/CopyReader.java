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
 * A reader of whole partitions: CopyReader BOOTSTRAP TOPIC PARTITIONS follow|once ISOLATION_LEVEL. Prints "R PARTITION OFFSET VALUE" for each record from the first
 * offset on, the value cut at its third blank; "once" ends at the partitions' ends (for read_committed the last stable offsets) as they were at its
 * start, after "E PARTITION END" for each.
 */
public final class CopyReader {
    public static void main(String[] args) {
        boolean once = args[3].equals("once");
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("isolation.level", args[4]);
        settings.put("auto.offset.reset", "earliest");
        settings.put("reconnect.backoff.ms", "20");
        settings.put("reconnect.backoff.max.ms", "200");
        settings.put("max.poll.records", "5000");
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
            String[] words = record.value().split(" ", 4);
            lines.append("R ").append(record.partition()).append(' ').append(record.offset());
            for (int index = 0; index < Math.min(words.length, 3); index++) lines.append(' ').append(words[index]);
            lines.append('\n');
        }
        System.out.print(lines);
        System.out.flush();
    }
}
