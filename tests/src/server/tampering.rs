//! What whoever has taken over the receiver could do to its files.

use rusqlite::Connection;

use super::{RECEIVER_USER, Server, entries, give};

impl Server {
    /// Changes the inbox while no receiver runs.
    pub fn tamper(&mut self, sql: &str) {
        self.stop_receiver();
        let connection = Connection::open(self.spool().join("inbox.db")).expect("the inbox can be opened");
        connection.execute_batch(sql).expect("the inbox can be changed");
        drop(connection);
        for file in entries(&self.spool()) {
            give(&file, RECEIVER_USER);
        }
    }
}
