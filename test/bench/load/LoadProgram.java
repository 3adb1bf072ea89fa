// The one load program for every server: a process that stays, so that the client is as warm for the first server as for the last, and
// takes commands on stdin, one a line: "ID VERB key=value ...". Each runs on a thread of its own and answers one line of JSON that carries its
// id; what goes wrong is an answer too ({"id": 7, "error": "..."}). It ends with stdin. Neighbours: Unthrottled.java, OpenLoop.java,
// Transactions.java, ../load-program.ts, which starts it.
//
//   about                                           versions of the runtime and of the client library
//   create    bootstrap= topic= partitions=         milliseconds until created, and until each partition has a leader
//   delete    bootstrap= topic=
//   produce   see Unthrottled.produce
//   consume   see Unthrottled.consume
//   rate      see OpenLoop.run
//   transactions  see Transactions.run

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.HdrHistogram.AbstractHistogram;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.utils.AppInfoParser;

public final class LoadProgram {
    /** Values that no two neighbours share: more bytes than any compressor's window in use. */
    private static final int POOL_BYTES = 32 << 20;
    private static final Map<String, byte[][]> POOLS = new HashMap<>();

    private LoadProgram() {}

    public static void main(String[] args) throws Exception {
        var commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String[] words = line.trim().split(" ");
            if (words.length < 2) continue;
            var command = new Command(words);
            var thread = new Thread(() -> answer(words[0], words[1], command), words[1] + "-" + words[0]);
            thread.setDaemon(true);
            thread.start();
        }
    }

    private static void answer(String id, String verb, Command command) {
        String fields;
        try {
            fields = run(verb, command);
        } catch (Exception | LinkageError failure) {
            fields = "\"error\": \"" + String.valueOf(failure).replaceAll("[\\\\\"\\p{Cntrl}]", " ") + "\"";
        }
        synchronized (System.out) {
            System.out.println("{\"id\": " + id + ", " + fields + "}");
        }
    }

    private static String run(String verb, Command command) throws Exception {
        return switch (verb) {
            case "about" -> "\"java\": \"" + System.getProperty("java.vm.name") + " " + System.getProperty("java.version")
                + "\", \"client\": \"" + AppInfoParser.getVersion() + "\"";
            case "create" -> create(command);
            case "delete" -> delete(command);
            case "produce" -> Unthrottled.produce(command);
            case "consume" -> Unthrottled.consume(command);
            case "rate" -> OpenLoop.run(command);
            case "transactions" -> Transactions.run(command);
            default -> throw new IllegalArgumentException("unknown verb " + verb);
        };
    }

    private static Admin admin(Command command) {
        var settings = new Properties();
        settings.put("bootstrap.servers", command.text("bootstrap"));
        return Admin.create(settings);
    }

    private static String create(Command command) throws Exception {
        String topic = command.text("topic");
        int partitions = (int) command.number("partitions", 1);
        try (Admin admin = admin(command)) {
            admin.describeCluster().nodes().get(60, TimeUnit.SECONDS);
            long begun = System.nanoTime();
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get(120, TimeUnit.SECONDS);
            long created = System.nanoTime();
            while (countLed(admin, topic) < partitions) {
                if (System.nanoTime() - created > TimeUnit.SECONDS.toNanos(120)) throw new IllegalStateException("partitions without a leader");
                Thread.sleep(2);
            }
            return String.format(Locale.ROOT, "\"createMs\": %.2f, \"allLedMs\": %.2f", (created - begun) / 1e6, (System.nanoTime() - begun) / 1e6);
        }
    }

    private static int countLed(Admin admin, String topic) throws Exception {
        try {
            var description = admin.describeTopics(List.of(topic)).allTopicNames().get(60, TimeUnit.SECONDS).get(topic);
            return (int) description.partitions().stream().filter(each -> each.leader() != null && each.leader().id() >= 0).count();
        } catch (ExecutionException notVisibleYet) {
            return 0;
        }
    }

    private static String delete(Command command) throws Exception {
        try (Admin admin = admin(command)) {
            admin.deleteTopics(List.of(command.text("topic"))).all().get(120, TimeUnit.SECONDS);
        }
        return "\"deleted\": true";
    }

    /** Values of `size` bytes: capitals at random (zstd brings them to 0.61) or bytes at random (nothing does). Made once a shape. */
    static synchronized byte[][] values(String data, int size) {
        return POOLS.computeIfAbsent(data + size, key -> {
            var random = new Random(7);
            var pool = new byte[Math.max(64, POOL_BYTES / size)][size];
            for (byte[] value : pool) {
                random.nextBytes(value);
                if (data.equals("letters")) for (int i = 0; i < size; i++) value[i] = (byte) ('A' + (value[i] & 0xff) % 26);
            }
            return pool;
        });
    }

    /** Settings of a producer, the same for every server. */
    static Properties producerSettings(Command command) {
        var settings = new Properties();
        settings.put("bootstrap.servers", command.text("bootstrap"));
        settings.put("acks", command.text("acks", "all"));
        settings.put("linger.ms", command.text("linger", "0"));
        settings.put("batch.size", command.text("batch", "16384"));
        settings.put("compression.type", command.text("compression", "none"));
        settings.put("enable.idempotence", command.text("idempotence", "true"));
        settings.put("buffer.memory", command.text("buffer", "33554432"));
        settings.put("max.request.size", "8388608");
        settings.put("max.block.ms", "120000");
        return settings;
    }

    static Properties consumerSettings(Command command) {
        var settings = new Properties();
        settings.put("bootstrap.servers", command.text("bootstrap"));
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        settings.put("max.poll.records", "100000");
        return settings;
    }

    /** Milliseconds of a histogram of microseconds. */
    static String quantiles(AbstractHistogram histogram) {
        return String.format(Locale.ROOT, "{\"count\": %d, \"mean\": %.3f, \"p50\": %.3f, \"p99\": %.3f, \"p999\": %.3f, \"max\": %.3f}",
            histogram.getTotalCount(), histogram.getMean() / 1e3, histogram.getValueAtPercentile(50) / 1e3, histogram.getValueAtPercentile(99) / 1e3,
            histogram.getValueAtPercentile(99.9) / 1e3, histogram.getMaxValue() / 1e3);
    }

    /** The key=value words of a command. */
    static final class Command {
        private final Map<String, String> values = new HashMap<>();

        Command(String[] words) {
            for (int i = 2; i < words.length; i++) {
                int equals = words[i].indexOf('=');
                if (equals > 0) values.put(words[i].substring(0, equals), words[i].substring(equals + 1));
            }
        }

        String text(String key) {
            String value = values.get(key);
            if (value == null) throw new IllegalArgumentException(key + "= is missing");
            return value;
        }

        String text(String key, String otherwise) {
            return values.getOrDefault(key, otherwise);
        }

        double number(String key, double otherwise) {
            return values.containsKey(key) ? Double.parseDouble(values.get(key)) : otherwise;
        }
    }
}
