import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Random;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;

/**
 * Kafka's own record batches as an oracle. Arguments: input file, output file. Commands, each a byte, until the end of the input:
 *   'D' length bytes       check every batch (CRC included) and describe header and records as text
 *   'G' codec seed         build a batch with random header and records; the answer is its length int32, its bytes, and the description
 * Output per command: byte 1, length int32, bytes; or byte 0, length int32, what went wrong.
 */
public class RecordsOracle {
    public static void main(String[] args) throws Exception {
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(args[0]), 1 << 20));
             DataOutputStream out = new DataOutputStream(new BufferedOutputStream(new FileOutputStream(args[1]), 1 << 20))) {
            for (int command = in.read(); command >= 0; command = in.read()) {
                byte[] answer;
                int status = 1;
                byte[] input = command == 'D' ? in.readNBytes(in.readInt()) : null;
                int codec = command == 'G' ? in.readByte() : 0;
                long seed = command == 'G' ? in.readLong() : 0;
                try {
                    byte[] batch = input != null ? input : generate(codec, new Random(seed));
                    byte[] text = describe(batch).getBytes(StandardCharsets.UTF_8);
                    answer = input != null ? text : ByteBuffer.allocate(4 + batch.length + text.length).putInt(batch.length).put(batch).put(text).array();
                } catch (Throwable failure) {
                    status = 0;
                    answer = failure.toString().getBytes(StandardCharsets.UTF_8);
                }
                out.writeByte(status);
                out.writeInt(answer.length);
                out.write(answer);
            }
        }
    }

    private static String describe(byte[] input) {
        StringBuilder text = new StringBuilder();
        int bytes = 0;
        for (MutableRecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(input)).batches()) {
            batch.ensureValid();
            bytes += batch.sizeInBytes();
            text.append("batch ").append(batch.baseOffset()).append(' ').append(batch.lastOffset()).append(' ').append(batch.sizeInBytes())
                .append(' ').append(batch.partitionLeaderEpoch()).append(' ').append(batch.compressionType().id)
                .append(' ').append(batch.timestampType() == TimestampType.LOG_APPEND_TIME).append(' ').append(batch.isTransactional())
                .append(' ').append(batch.isControlBatch()).append(' ').append(batch.maxTimestamp()).append(' ').append(batch.producerId())
                .append(' ').append(batch.producerEpoch()).append(' ').append(batch.baseSequence()).append(' ').append(batch.countOrNull())
                .append(' ').append(batch.deleteHorizonMs().isPresent() ? batch.deleteHorizonMs().getAsLong() : "-").append('\n');
            for (Record record : batch) {
                text.append(record.offset()).append(' ').append(record.timestamp()).append(' ').append(hex(record.key())).append(' ').append(hex(record.value()));
                for (Header header : record.headers()) {
                    text.append(' ').append(hex(ByteBuffer.wrap(header.key().getBytes(StandardCharsets.UTF_8)))).append('=')
                        .append(hex(header.value() == null ? null : ByteBuffer.wrap(header.value())));
                }
                text.append('\n');
            }
        }
        if (bytes != input.length) throw new IllegalStateException((input.length - bytes) + " bytes behind the last batch");
        return text.toString();
    }

    private static byte[] generate(int codec, Random random) {
        boolean appendTime = random.nextInt(4) == 0;
        boolean idempotent = random.nextBoolean();
        long now = 1_700_000_000_000L;
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 16), (byte) 2, Compression.of(CompressionType.forId(codec)).build(),
            appendTime ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME, random.nextLong() >>> 12, appendTime ? now : -1L,
            idempotent ? random.nextLong() >>> 1 : -1L, idempotent ? (short) random.nextInt(32768) : -1, idempotent ? random.nextInt() >>> 1 : -1,
            idempotent && random.nextBoolean(), random.nextInt(1000));
        for (int left = 1 + random.nextInt(40); left > 0; left--) {
            Header[] headers = new Header[random.nextInt(3)];
            for (int i = 0; i < headers.length; i++) headers[i] = new RecordHeader("\u00e9" + i, bytes(random, 20));
            builder.append(now + random.nextInt(100_000) - 50_000, bytes(random, 30), bytes(random, 3000), headers);
        }
        MemoryRecords records = builder.build();
        byte[] bytes = new byte[records.sizeInBytes()];
        records.buffer().duplicate().get(bytes);
        return bytes;
    }

    /** Compressible, sometimes null. */
    private static byte[] bytes(Random random, int most) {
        if (random.nextInt(8) == 0) return null;
        byte[] bytes = new byte[random.nextInt(most)];
        for (int i = 0; i < bytes.length; i++) bytes[i] = (byte) (random.nextInt(8) == 0 ? random.nextInt() : 'a' + i % 7);
        return bytes;
    }

    private static String hex(ByteBuffer buffer) {
        if (buffer == null) return "null";
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return "x" + HexFormat.of().formatHex(bytes);
    }
}
