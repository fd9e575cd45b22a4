"""The durable priority queue: plain functions on a transaction. State moves are `UPDATE … WHERE state = :from`."""
