"""The demonstration: a whole suite, real agents and real records, from start to verdict."""
