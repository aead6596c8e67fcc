"""A formatted workbook with formulas and a chart."""

from openpyxl import Workbook, load_workbook
from openpyxl.chart import BarChart, Reference
from openpyxl.styles import Font, PatternFill
from openpyxl.utils import get_column_letter

book = Workbook()
sheet = book.active
sheet.title = "Budget"
sheet.append(["item", "cost"])
for row in (("Rent", 900), ("Food", 350), ("Phone", 20)):
    sheet.append(row)
sheet["B5"] = "=SUM(B2:B4)"
for cell in sheet[1]:
    cell.font, cell.fill = Font(bold=True), PatternFill("solid", fgColor="DDDDDD")
sheet.column_dimensions[get_column_letter(1)].width = 20
chart = BarChart()
chart.add_data(Reference(sheet, min_col=2, min_row=1, max_row=4), titles_from_data=True)
sheet.add_chart(chart, "D2")
book.create_sheet("Notes")["A1"] = "ß, 東京"
book.save("budget.xlsx")
read = load_workbook("budget.xlsx")
print(read.sheetnames, read["Budget"]["B5"].value, read["Budget"]["A1"].font.bold, read["Notes"]["A1"].value)
print([[c.value for c in row] for row in read["Budget"].iter_rows(min_row=2, max_row=3)])

# Prints:
# ['Budget', 'Notes'] =SUM(B2:B4) True ß, 東京
# [['Rent', 900], ['Food', 350]]
# Leaves:
# created budget.xlsx
