import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;

/**
 * Kafka's own message classes as an oracle. Arguments: input file, output file. Input: commands until the end of the file, each a byte:
 *   'R' class version length bytes   parse, check that all was consumed, serialise again
 *   'G' class version seed           make a random message of that version and serialise it
 *   'C' class version length bytes target version   parse, and serialise in another version
 *   'N' class version                serialise a message as its constructor makes it
 * (class: UTF as DataInput has it; version int16; length int32; seed int64). Output per command: byte 1, length int32, bytes; or byte 0,
 * length int32, what went wrong.
 */
public class ProtocolOracle {
    public static void main(String[] args) throws Exception {
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(args[0]), 1 << 20));
             DataOutputStream out = new DataOutputStream(new BufferedOutputStream(new FileOutputStream(args[1]), 1 << 20))) {
            for (int command = in.read(); command >= 0; command = in.read()) {
                String name = in.readUTF();
                short version = in.readShort();
                byte[] input = command == 'R' || command == 'C' ? in.readNBytes(in.readInt()) : null;
                short target = command == 'C' ? in.readShort() : version;
                long seed = command == 'G' ? in.readLong() : 0;
                byte[] answer;
                int status = 1;
                try {
                    Message message = newMessage(name);
                    if (command == 'G') {
                        new Generator(new Random(seed)).fill(message, schemaOf(message.getClass(), version));
                    } else if (input != null) {
                        ByteBuffer buffer = ByteBuffer.wrap(input);
                        message.read(new ByteBufferAccessor(buffer), version);
                        if (buffer.hasRemaining()) throw new IllegalStateException(buffer.remaining() + " bytes not consumed");
                    }
                    answer = serialize(message, target);
                } catch (Throwable failure) {
                    status = 0;
                    answer = failure.toString().getBytes("UTF-8");
                }
                out.writeByte(status);
                out.writeInt(answer.length);
                out.write(answer);
            }
        }
    }

    private static final Map<String, Class<?>> CLASSES = new HashMap<>();

    private static Message newMessage(String name) throws Exception {
        Class<?> type = CLASSES.get(name);
        if (type == null) CLASSES.put(name, type = Class.forName(name));
        return (Message) type.getDeclaredConstructor().newInstance();
    }

    private static byte[] serialize(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) throw new IllegalStateException("size and write disagree");
        return buffer.array();
    }

    private static Schema schemaOf(Class<?> type, short version) throws Exception {
        return ((Schema[]) type.getField("SCHEMAS").get(null))[version];
    }

    /** Fills a message's private fields as the schema of one version allows; fields that the version lacks keep their default. */
    private static final class Generator {
        private static final String[] NAMES = {"", "a", "orders", "\u03b1\u03b2\u03b3", "\u65e5\u672c", "\ud83d\ude00", "x".repeat(200)};
        private final Random random;

        Generator(Random random) {
            this.random = random;
        }

        void fill(Object message, Schema schema) throws Exception {
            Map<String, Field> fields = new HashMap<>();
            for (Field field : message.getClass().getDeclaredFields()) {
                if (!Modifier.isStatic(field.getModifiers())) fields.put(field.getName().toLowerCase(), field);
            }
            for (BoundField bound : schema.fields()) {
                if (bound.def.type instanceof TaggedFields tagged) {
                    for (var entry : tagged.fields().values()) if (random.nextBoolean()) set(message, fields, entry.name, entry.type);
                    if (random.nextInt(3) == 0) {
                        Field unknown = fields.get("_unknowntaggedfields");
                        unknown.setAccessible(true);
                        List<RawTaggedField> raw = new ArrayList<>();
                        for (int tag = 200, left = 1 + random.nextInt(3); left > 0; left--, tag += 1 + random.nextInt(20000)) raw.add(new RawTaggedField(tag, bytes()));
                        unknown.set(message, raw);
                    }
                } else {
                    set(message, fields, bound.def.name, bound.def.type);
                }
            }
        }

        private void set(Object message, Map<String, Field> fields, String name, Type type) throws Exception {
            Field field = fields.get(name.replace("_", ""));
            if (field == null) throw new IllegalStateException("no field for " + name + " in " + message.getClass());
            field.setAccessible(true);
            field.set(message, type.isNullable() && random.nextInt(5) == 0 ? null : value(field, type));
        }

        private Object value(Field field, Type type) throws Exception {
            Type element = type.isArray() ? type.arrayElementType().get() : null;
            if (element == null) return scalar(field.getType(), type);
            Class<?> elementClass;
            Collection<Object> collection;
            if (List.class.isAssignableFrom(field.getType())) {
                elementClass = (Class<?>) ((ParameterizedType) field.getGenericType()).getActualTypeArguments()[0];
                collection = new ArrayList<>();
            } else {
                elementClass = (Class<?>) ((ParameterizedType) field.getType().getGenericSuperclass()).getActualTypeArguments()[0];
                @SuppressWarnings("unchecked")
                Collection<Object> set = (Collection<Object>) field.getType().getDeclaredConstructor().newInstance();
                collection = set;
            }
            for (int left = random.nextInt(4); left > 0; left--) collection.add(scalar(elementClass, element));
            return collection;
        }

        private Object scalar(Class<?> target, Type type) throws Exception {
            if (type instanceof Schema schema) {
                Object nested = target.getDeclaredConstructor().newInstance();
                fill(nested, schema);
                return nested;
            }
            if (target == boolean.class) return random.nextBoolean();
            if (target == byte.class || target == Byte.class) return (byte) random.nextInt();
            if (target == short.class || target == Short.class) return (short) random.nextInt();
            if (type == Type.UINT16) return random.nextInt(65536);
            if (target == int.class || target == Integer.class) return random.nextInt();
            if (target == long.class || target == Long.class) return random.nextLong();
            if (target == double.class) return random.nextDouble() * 1e9;
            if (target == String.class) return NAMES[random.nextInt(NAMES.length)];
            if (target == Uuid.class) return random.nextInt(4) == 0 ? Uuid.ZERO_UUID : new Uuid(random.nextLong(), random.nextLong());
            if (target == byte[].class) return bytes();
            if (target == ByteBuffer.class) return ByteBuffer.wrap(bytes());
            if (target.isAssignableFrom(MemoryRecords.class)) return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes()));
            throw new IllegalStateException("no random " + target + " for " + type);
        }

        private byte[] bytes() {
            byte[] bytes = new byte[random.nextInt(30)];
            random.nextBytes(bytes);
            return bytes;
        }
    }
}
