import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerExtensionsValidatorCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

/**
 * A broker's side of Amazon MSK's IAM access control, for tests: it reads the presigned request out of the token, demands all
 * that AWS demands of one, and computes its signature anew with the secrets that it knows. -Dmsk.folder names a folder with
 * `keys` (lines ID SECRET [TOKEN], read at each login) and `logins`, to which a line is added for each: ID accepted, or
 * refused and why; `ahead`, if it is there, sets the broker's clock forward.
 */
public final class MskIamValidator implements AuthenticateCallbackHandler {
    private static final String REGION = "eu-central-1";
    private static final Path FOLDER = Path.of(System.getProperty("msk.folder"));
    private static final DateTimeFormatter DATE = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'");
    private static final Set<String> NAMES = Set.of("Action", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires",
            "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Security-Token", "User-Agent");

    private record Token(String value, String principalName, Long startTimeMs, long lifetimeMs) implements OAuthBearerToken {
        @Override
        public Set<String> scope() {
            return Set.of();
        }
    }

    private static final class Refusal extends Exception {
        Refusal(String why) {
            super(why);
        }
    }

    @Override
    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
    }

    @Override
    public void close() {
    }

    @Override
    public void handle(Callback[] callbacks) throws IOException, UnsupportedCallbackException {
        for (Callback callback : callbacks) {
            if (callback instanceof OAuthBearerValidatorCallback login) {
                validate(login);
            } else if (!(callback instanceof OAuthBearerExtensionsValidatorCallback)) {
                throw new UnsupportedCallbackException(callback);
            }
        }
    }

    private static void validate(OAuthBearerValidatorCallback login) {
        String id = "-";
        try {
            Map<String, String> query = read(login.tokenValue());
            id = query.get("X-Amz-Credential").split("/")[0];
            login.token(check(login.tokenValue(), id, query));
            note(id + " accepted");
        } catch (Refusal | RuntimeException | GeneralSecurityException why) {
            note(id + " refused: " + why.getMessage());
            login.error("invalid_token", null, null);
        }
    }

    private static synchronized void note(String line) {
        try {
            Files.writeString(FOLDER.resolve("logins"), line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void demand(boolean holds, String why) throws Refusal {
        if (!holds) {
            throw new Refusal(why);
        }
    }

    /** The request's parameters. */
    private static Map<String, String> read(String token) throws Refusal {
        demand(!token.contains("="), "the token is padded");
        URI url = URI.create(new String(Base64.getUrlDecoder().decode(token), StandardCharsets.US_ASCII));
        demand("https".equals(url.getScheme()) && url.getAuthority().equals("kafka." + REGION + ".amazonaws.com"), "another host");
        demand("/".equals(url.getRawPath()) && url.getFragment() == null, "another path");
        Map<String, String> query = new TreeMap<>();
        for (String pair : url.getRawQuery().split("&")) {
            String[] parts = pair.split("=", 2);
            demand(NAMES.contains(parts[0]), "a parameter too many: " + parts[0]);
            demand(query.put(parts[0], URLDecoder.decode(parts[1].replace("+", "%2B"), StandardCharsets.UTF_8)) == null, "twice: " + parts[0]);
        }
        demand("kafka-cluster:Connect".equals(query.get("Action")), "another action");
        demand("AWS4-HMAC-SHA256".equals(query.get("X-Amz-Algorithm")), "another algorithm");
        demand("host".equals(query.get("X-Amz-SignedHeaders")), "other headers");
        demand(query.get("User-Agent").startsWith("orderlog/"), "no User-Agent");
        return query;
    }

    private static OAuthBearerToken check(String value, String id, Map<String, String> query) throws Refusal, GeneralSecurityException {
        Instant from = LocalDateTime.parse(query.get("X-Amz-Date"), DATE).toInstant(ZoneOffset.UTC);
        int seconds = Integer.parseInt(query.get("X-Amz-Expires"));
        Instant now = Instant.now().plusSeconds(ahead());
        demand(seconds == 900, "X-Amz-Expires is " + seconds);
        demand(now.isBefore(from.plusSeconds(seconds)), "expired at " + from.plusSeconds(seconds));
        demand(now.plusSeconds(300).isAfter(from), "not yet valid");
        String day = query.get("X-Amz-Date").substring(0, 8);
        demand(query.get("X-Amz-Credential").equals(String.join("/", id, day, REGION, "kafka-cluster", "aws4_request")), "another scope");
        String[] key = secret(id);
        demand(key.length < 3 || key[2].equals(query.get("X-Amz-Security-Token")), "another session's token");
        demand(key.length == 3 || !query.containsKey("X-Amz-Security-Token"), "a session's token without a session");
        demand(signature(key[1], day, query).equals(query.get("X-Amz-Signature")), "the signature does not match");
        return new Token(value, id, from.toEpochMilli(), from.plusSeconds(seconds).toEpochMilli());
    }

    /** Seconds by which this broker's clock shall run ahead. */
    private static long ahead() {
        try {
            Path file = FOLDER.resolve("ahead");
            return Files.exists(file) ? Long.parseLong(Files.readString(file).strip()) : 0;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static String[] secret(String id) throws Refusal {
        try {
            for (String line : Files.readAllLines(FOLDER.resolve("keys"))) {
                if (line.startsWith(id + " ")) {
                    return line.split(" ");
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        throw new Refusal("the key is not known");
    }

    private static String encode(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20").replace("*", "%2A").replace("%7E", "~");
    }

    private static byte[] hmac(byte[] key, String text) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String hash(String text) throws GeneralSecurityException {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8)));
    }

    private static String signature(String secret, String day, Map<String, String> query) throws GeneralSecurityException {
        String signed = query.entrySet().stream().filter(e -> !e.getKey().equals("X-Amz-Signature") && !e.getKey().equals("User-Agent"))
                .map(e -> encode(e.getKey()) + "=" + encode(e.getValue())).collect(Collectors.joining("&"));
        String request = "GET\n/\n" + signed + "\nhost:kafka." + REGION + ".amazonaws.com\n\nhost\n" + hash("");
        String text = "AWS4-HMAC-SHA256\n" + query.get("X-Amz-Date") + "\n" + day + "/" + REGION + "/kafka-cluster/aws4_request\n" + hash(request);
        byte[] key = ("AWS4" + secret).getBytes(StandardCharsets.UTF_8);
        for (String step : List.of(day, REGION, "kafka-cluster", "aws4_request")) {
            key = hmac(key, step);
        }
        return HexFormat.of().formatHex(hmac(key, text));
    }
}
