def reference_of(name, source, *, published=None, folder=None, plan=None):
    return {"point_charges": "exact","water_anion": "exact","au_mgo": "exact","ani":"dft"}.get(name,"xtb")
def modules_behind(name, plan):
    return [f"gnnip.sampling.{name}"]
