"""One room per thing that the outside talks to: decode, call, encode."""
