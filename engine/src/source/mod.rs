//! Where changes come from: Kafka topics, or captured messages of them.
