import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.Errors;

/** Prints Kafka's error codes and the API versions that a broker listener advertises, one JSON object a line. */
public class KafkaTables {
    public static void main(String[] args) {
        for (Errors error : Errors.values()) {
            boolean retriable = error.exception() instanceof RetriableException;
            System.out.println("{\"table\":\"error\",\"name\":" + quote(error.name()) + ",\"code\":" + error.code()
                + ",\"retriable\":" + retriable + ",\"message\":" + quote(error.message()) + "}");
        }
        for (ApiKeys api : ApiKeys.values()) {
            if (!api.inScope(ApiMessageType.ListenerType.BROKER)) continue;
            var stable = api.toApiVersionForApiResponse(false, ApiMessageType.ListenerType.BROKER);
            var unstable = api.toApiVersionForApiResponse(true, ApiMessageType.ListenerType.BROKER);
            if (unstable.isEmpty()) continue;
            System.out.println("{\"table\":\"range\",\"name\":" + quote(api.name) + ",\"key\":" + api.id
                + ",\"minVersion\":" + unstable.get().minVersion()
                + ",\"maxVersion\":" + (stable.isEmpty() ? -1 : stable.get().maxVersion())
                + ",\"maxUnstableVersion\":" + unstable.get().maxVersion()
                + ",\"clusterAction\":" + api.clusterAction + "}");
        }
    }

    private static String quote(String text) {
        if (text == null) return "null";
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') quoted.append('\\').append(c);
            else if (c < 0x20) quoted.append(String.format("\\u%04x", (int) c));
            else quoted.append(c);
        }
        return quoted.append('"').toString();
    }
}
