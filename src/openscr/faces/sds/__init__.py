"""The directory face: SDS as FHIR. Spec: 40 §11.2, 60 §13."""
