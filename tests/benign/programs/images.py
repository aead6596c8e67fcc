"""Draw, scale, rotate, filter and convert pictures."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

image = Image.new("RGB", (200, 100), "white")
draw = ImageDraw.Draw(image)
draw.rectangle([10, 10, 60, 60], fill="red", outline="black")
draw.ellipse([100, 20, 160, 80], fill=(0, 0, 255))
draw.text((70, 40), "Hi", fill="black", font=ImageFont.load_default())
for kind in ("png", "jpeg", "bmp", "webp", "gif"):
    image.save(f"/tmp/picture.{kind}")
    with Image.open(f"/tmp/picture.{kind}") as read:
        print(read.format, read.size)
image.thumbnail((100, 100))
image.rotate(90, expand=True).filter(ImageFilter.GaussianBlur(1)).save("thumb.png")
print(image.size, Image.open("thumb.png").size, ImageOps.grayscale(image).mode, image.getpixel((15, 15)))
print(sorted(p.name for p in Path(".").glob("*.png")))

# Prints:
# PNG (200, 100)
# JPEG (200, 100)
# BMP (200, 100)
# WEBP (200, 100)
# GIF (200, 100)
# (100, 50) (50, 100) L (255, 0, 0)
# ['thumb.png']
# Leaves:
# created thumb.png
