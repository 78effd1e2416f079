// A user of BookKeeper's own client and tools:
// Interop URI init | write COUNT BOOKIES | read LEDGER | bookies
// Prints one fact a line.

import java.nio.charset.StandardCharsets;
import java.util.Enumeration;
import java.util.TreeSet;
import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.BookKeeperAdmin;
import org.apache.bookkeeper.client.LedgerEntry;
import org.apache.bookkeeper.client.LedgerHandle;
import org.apache.bookkeeper.conf.ClientConfiguration;
import org.apache.bookkeeper.conf.ServerConfiguration;
import org.apache.bookkeeper.net.BookieId;

public class Interop {
  private static final byte[] PASSWORD = "secret".getBytes(StandardCharsets.UTF_8);

  public static void main(String[] args) throws Exception {
    if (args[1].equals("init")) {
      ServerConfiguration server = new ServerConfiguration();
      server.setMetadataServiceUri(args[0]);
      if (!BookKeeperAdmin.initNewCluster(server)) throw new IllegalStateException("it is there");
      System.exit(0);
    }
    ClientConfiguration conf = new ClientConfiguration();
    conf.setMetadataServiceUri(args[0]);
    conf.setZkTimeout(10_000);
    conf.setAddEntryQuorumTimeout(30);
    try (BookKeeper client = new BookKeeper(conf)) {
      switch (args[1]) {
        case "write" -> write(client, Integer.parseInt(args[2]), Integer.parseInt(args[3]));
        case "read" -> read(client, Long.parseLong(args[2]));
        case "bookies" -> bookies(client, conf);
        default -> throw new IllegalArgumentException(args[1]);
      }
    }
    // Threads of the client may live on.
    System.exit(0);
  }

  private static void write(BookKeeper client, int count, int bookies) throws Exception {
    LedgerHandle ledger =
        client.createLedger(
            bookies, bookies, bookies / 2 + 1, BookKeeper.DigestType.CRC32C, PASSWORD);
    for (int entry = 0; entry < count; entry++) {
      ledger.addEntry(("java " + entry).getBytes(StandardCharsets.UTF_8));
    }
    ledger.close();
    System.out.println(ledger.getId());
  }

  /** Opens with recovery, as a reader that takes over does. */
  private static void read(BookKeeper client, long id) throws Exception {
    LedgerHandle ledger = client.openLedger(id, BookKeeper.DigestType.CRC32C, PASSWORD);
    Enumeration<LedgerEntry> entries = ledger.readEntries(0, ledger.getLastAddConfirmed());
    while (entries.hasMoreElements()) {
      System.out.println(new String(entries.nextElement().getEntry(), StandardCharsets.UTF_8));
    }
  }

  private static void bookies(BookKeeper client, ClientConfiguration conf) throws Exception {
    try (BookKeeperAdmin admin = new BookKeeperAdmin(client, conf)) {
      TreeSet<String> lines = new TreeSet<>();
      for (BookieId id : admin.getAvailableBookies()) {
        lines.add("writable " + id + " at " + client.getBookieAddressResolver().resolve(id));
      }
      for (BookieId id : admin.getReadOnlyBookies()) lines.add("read-only " + id);
      for (BookieId id : admin.getAllBookies()) lines.add("cookie " + id);
      lines.forEach(System.out::println);
    }
  }
}
