// Gets a URL with both of the JVM's own HTTP clients, set up by nothing but its environment.
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

public class Get {
    public static void main(String[] arguments) throws Exception {
        URI uri = URI.create(arguments[0]);
        HttpURLConnection old = (HttpURLConnection) uri.toURL().openConnection();
        int status = old.getResponseCode();
        try (InputStream body = status < 400 ? old.getInputStream() : old.getErrorStream()) {
            System.out.println(status + " " + new String(body.readAllBytes()));
        }
        HttpRequest request = HttpRequest.newBuilder(uri).build();
        HttpResponse<String> answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.statusCode() + " " + answer.body());
    }
}
