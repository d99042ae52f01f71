"""The message handling adaptor: a small REST API on one side, ebXML and SOAP to a Spine on the other. Spec: 50."""
