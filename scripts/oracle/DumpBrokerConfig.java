import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import kafka.server.KafkaConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.coordinator.group.GroupConfig;
import org.apache.kafka.server.config.DynamicBrokerConfig;

/**
 * Prints every configuration of brokers, or of groups, that Apache Kafka's published jars define, as JSON: the oracle for our settings.
 *
 *   java -cp 'LIB/*' scripts/oracle/DumpBrokerConfig.java broker|group
 *
 * One object a line: name, type, default (as Kafka writes it in properties; null when there is none), importance, validator, doc; of a broker's setting also
 * how it may be changed at run time (updateMode), of a group's the broker's setting that gives the default (synonym, null when there is none).
 */
public final class DumpBrokerConfig {
  public static void main(String[] args) {
    boolean ofGroups = args.length > 0 && args[0].equals("group");
    ConfigDef definition = ofGroups ? GroupConfig.CONFIG_DEF : KafkaConfig.configDef();
    Map<String, String> updateModes = DynamicBrokerConfig.dynamicConfigUpdateModes();
    Map<String, String> lines = new TreeMap<>();
    for (ConfigDef.ConfigKey key : definition.configKeys().values()) {
      List<String> fields = new ArrayList<>();
      fields.add("\"name\":" + quote(key.name));
      fields.add("\"type\":" + quote(key.type.name().toLowerCase()));
      fields.add("\"default\":" + (key.hasDefault() ? defaultOf(key) : "null"));
      fields.add("\"required\":" + !key.hasDefault());
      fields.add("\"internal\":" + key.internalConfig);
      fields.add("\"importance\":" + quote(key.importance.name().toLowerCase()));
      fields.add("\"validator\":" + (key.validator == null ? "null" : quote(key.validator.toString())));
      fields.add("\"doc\":" + (key.documentation == null ? "\"\"" : quote(key.documentation)));
      if (ofGroups) fields.add("\"synonym\":" + GroupConfig.brokerSynonym(key.name).map(DumpBrokerConfig::quote).orElse("null"));
      else fields.add("\"updateMode\":" + quote(updateModes.getOrDefault(key.name, "read-only")));
      lines.put(key.name, "{" + String.join(",", fields) + "}");
    }
    System.out.println("[\n" + String.join(",\n", lines.values()) + "\n]");
  }

  private static String defaultOf(ConfigDef.ConfigKey key) {
    if (key.defaultValue == null) return "null";
    return quote(ConfigDef.convertToString(key.defaultValue, key.type));
  }

  private static String quote(String text) {
    StringBuilder out = new StringBuilder("\"");
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (c == '"' || c == '\\') out.append('\\').append(c);
      else if (c == '\n') out.append("\\n");
      else if (c < 0x20 || c > 0x7e) out.append(String.format("\\u%04x", (int) c));
      else out.append(c);
    }
    return out.append('"').toString();
  }
}
