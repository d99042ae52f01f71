import sys

from openscr import clinical as scr
from openscr.client import Client

since = scr.Interval(low=scr.Time("2019-05-01"))
asthma = scr.Diagnosis(code=scr.Coded("195967001", "Asthma"), time=since)
salbutamol = scr.Coded("374646004", "Salbutamol 100 micrograms inhaler")
inhaler = scr.CurrentRepeatMedication(product=salbutamol, dosage="Two puffs when needed", time=since)
summary = scr.Summary(
    patient=scr.Patient("9990000018"),
    author=scr.SdsPerson(user_id="555000000101", role_profile_id="555000000102", name=scr.Name(text="Dr Demopractice")),
    allergies=(scr.Allergy(code=scr.Coded("91936005", "Allergy to penicillin"), time=since),),
    diagnoses=(asthma,),
    problems=(scr.Problem(about=asthma, time=since),),
    medications=scr.Medications(current_repeat=(inhaler,)),
)
with Client.demo(*sys.argv[1:]) as spine:  # openscr serve --demo runs beside
    print(spine.upload(summary))
    print([event.status.name for event in spine.list_events("9990000018").events])
    print(spine.text("9990000018"))
